#version 330
// What lies at the centre of the pixel, to be shaded afterwards.
uniform sampler2D prop_texture;  // square roots of factors

in vec4 v_surface;
in vec4 v_albedo;
in vec2 v_place;
in float v_depth;
layout(location = 0) out float depth;   // m
layout(location = 1) out vec4 surface;  // normal, roughness
layout(location = 2) out vec4 albedo;   // square roots of the linear reflectance; scatter

void main() {
    depth = v_depth;
    // Things are seen from both sides. Pictures have y down, so what faces the camera counts as facing away.
    surface = vec4(gl_FrontFacing ? -v_surface.xyz : v_surface.xyz, v_surface.w);
    albedo = vec4(sqrt(v_albedo.rgb) * texture(prop_texture, v_place).rgb, v_albedo.a);
}
