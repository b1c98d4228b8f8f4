#version 330
// Camera space (x right, y down, z forward, metres) to the pixels of one tile.
in vec3 position;
in vec3 normal;
in float region;     // share of palm on the hand, minus the metres from the wrist on the forearm
#ifdef PLACES
in vec3 rest;
out vec3 v_place;    // rest position
#endif
out float v_depth;
out vec4 v_surface;  // normal, region

void main() {
#ifdef PLACES
    v_place = rest;
#endif
    v_depth = position.z;
    v_surface = vec4(normal, region);
    vec2 pixel = intrinsics.xy * position.xy + (intrinsics.zw + 0.5) * position.z;
    float near = depth_range.x, far = depth_range.y;
    float z = (position.z * (far + near) - 2.0 * far * near) / (far - near);
    gl_Position = vec4(2.0 * pixel / size - position.z, z, position.z);
}
