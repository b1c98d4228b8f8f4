// What all programs know of the scene that is drawn; ``gl.SCENE`` has the same layout (std140).
layout(std140) uniform Scene {
    vec4 intrinsics;        // focal lengths and principal point, px; pixel centres at integers
    vec2 depth_range;       // m
    float size;             // image side, px
    int lamps;
    vec4 harmonics[9];      // soft light: 1, x, y, z, xy, yz, 3z^2-1, xz, x^2-y^2 of the normal
    vec4 lamp_direction[4];
    vec4 lamp_colour[4];
    vec4 lamp_axes[3];      // camera space -> the first lamp's space, whose z points away from it, row by row
    vec3 shadow_centre;
    float shadow_radius;
    vec3 back;              // linear reflectances, and amplitudes of order one
    float roughness;
    vec3 palm;
    float mottle;
    vec3 nail;
    float crease;
    vec3 sleeve;
    float sleeve_start;     // m from the wrist
    vec3 stripe;
    float stripe_width;     // m, 0 for plain cloth
    vec3 volume_origin;
    float vein;
    vec3 volume_extent;
    float flush;
    float noise_seed;
};
