# Shared by the scripts: virtual environments, something to draw with, a browser. Sourced, not run.

step() { printf '\n[%4d s] %s\n' "$SECONDS" "$*"; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Prints the first Python that pyproject.toml admits; PYTHON names one to use instead.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed, found: $(python3 --version 2>&1 || true); set PYTHON to the path of one"
}

# find_version 3.12: prints the path of that Python, which pyenv may have without having chosen it; fails without one.
find_version() {
    local chosen
    chosen=$(pyenv whence "python$1" 2>/dev/null | tail -n 1)
    PYENV_VERSION=$chosen "python$1" -c 'import sys; print(sys.executable)' 2>/dev/null
}

# make_environment FOLDER [EXTRAS]: this project, editable, with the versions of constraints.txt.
make_environment() {
    local python
    python=$(find_python) || exit $?
    environment_of "$1" "$python" install_project "${2:-}"
}

install_project() {
    "$1" -m pip install --quiet --disable-pip-version-check --no-input -c constraints.txt -e ".${2:+[$2]}"
}

# environment_of FOLDER PYTHON INSTALL [ARGUMENT]: a virtual environment that the function INSTALL fills, given its Python
# and ARGUMENT. Reused while they, pyproject.toml, constraints.txt, the interpreter and the place are the same.
environment_of() {
    local folder=$1 python=$2 wanted
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        local package
        package="$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
        may_install || fail "$python cannot make virtual environments; type: sudo apt-get install $package"
        step "installing $package"
        apt_install "$package"
    fi
    wanted=$({ cat pyproject.toml constraints.txt; "$python" --version; declare -f "$3"; echo "$PWD ${*:4}"; } | sha256sum)
    if [ "$(cat "$folder/installed.sha256" 2>/dev/null)" = "$wanted" ]; then
        step "environment $folder: unchanged, reused"
        return
    fi
    step "environment $folder: installing (the first time takes minutes)"
    rm -f "$folder/installed.sha256"
    "$python" -m venv --clear "$folder"
    "$3" "$folder/bin/python" "${@:4}"
    echo "$wanted" >"$folder/installed.sha256"
}

can_load_egl() { "$1" -c 'import ctypes; ctypes.CDLL("libEGL.so.1")' 2>/dev/null; }

has_gl_driver() {
    [ -n "$(find /usr/lib* /usr/local/lib* /lib* \( -name swrast_dri.so -o -name 'libgallium*.so*' \
        -o -name 'libEGL_nvidia.so*' \) -print -quit 2>/dev/null)" ]
}

can_draw() { "$1" -c 'import moderngl; moderngl.create_standalone_context(backend="egl", require=330)' >/dev/null 2>&1; }

install_gl() {
    may_install || fail "no OpenGL driver to draw with (libEGL.so.1 and Mesa's software renderer, or a GPU's driver);" \
        "type: sudo apt-get install libegl1 libgl1-mesa-dri"
    step "installing libegl1 libgl1-mesa-dri"
    apt_install libegl1 libgl1-mesa-dri
}

# check_gl PYTHON: checked before the long installation, which would be in vain.
check_gl() { { can_load_egl "$1" && has_gl_driver; } || install_gl; }

# check_drawing PYTHON: a driver that is there may still not work here (a GPU's, in a container without that GPU).
check_drawing() {
    can_draw "$1" && return
    install_gl
    can_draw "$1" || fail "OpenGL 3.3 over EGL does not start: $("$1" -c \
        'import moderngl; moderngl.create_standalone_context(backend="egl", require=330)' 2>&1 | tail -n 1)"
}

# install_browser: one test looks at the demo's page in Chromium. Without root it is skipped, and this says what to type.
install_browser() {
    { command -v chromium && command -v chromedriver; } >/dev/null && return
    if may_install; then
        step "installing chromium chromium-driver"
        apt_install chromium chromium-driver
    else
        step "no Chromium for the test of the demo's page; type: sudo apt-get install chromium chromium-driver"
    fi
}
