#version 330
// Camera space to the first lamp's parallel view of the hands.
in vec3 position;

void main() {
    vec3 from = (position - shadow_centre) / shadow_radius;
    gl_Position = vec4(dot(lamp_axes[0].xyz, from), dot(lamp_axes[1].xyz, from), dot(lamp_axes[2].xyz, from), 1.0);
}
