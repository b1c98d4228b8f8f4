#version 330
// Camera space (x right, y down, z forward, metres) to the pixels of one tile.
uniform vec4 intrinsics;  // focal lengths and principal point, px; pixel centres at integers
uniform float size;       // image side, px
uniform vec2 depth_range; // m

in vec3 position;
in vec3 normal;
in vec3 rest;
in vec2 surface;

centroid out vec3 v_position;
centroid out vec3 v_normal;
centroid out vec3 v_rest;
centroid out vec2 v_surface;

void main() {
    v_position = position;
    v_normal = normal;
    v_rest = rest;
    v_surface = surface;
    vec2 pixel = intrinsics.xy * position.xy + (intrinsics.zw + 0.5) * position.z;
    float near = depth_range.x, far = depth_range.y;
    float z = (position.z * (far + near) - 2.0 * far * near) / (far - near);
    gl_Position = vec4(2.0 * pixel / size - position.z, z, position.z);
}
