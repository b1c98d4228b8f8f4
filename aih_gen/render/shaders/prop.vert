#version 330
// Camera space to the pixels of the image, for props behind the hands.
in vec3 position;
#ifdef SURFACES
in vec3 normal;
in vec4 albedo;   // linear reflectance, scatter
in vec3 fine;     // roughness, texture coordinates
out vec4 v_surface;  // normal, roughness
out vec4 v_albedo;
out vec2 v_place;
out float v_depth;
#endif

void main() {
#ifdef SURFACES
    v_surface = vec4(normal, fine.x);
    v_albedo = albedo;
    v_place = fine.yz;
    v_depth = position.z;
#endif
    vec2 pixel = intrinsics.xy * position.xy + (intrinsics.zw + 0.5) * position.z;
    float near = depth_range.x, far = depth_range.y;
    float z = (position.z * (far + near) - 2.0 * far * near) / (far - near);
    gl_Position = vec4(2.0 * pixel / size - position.z, z, position.z);
}
