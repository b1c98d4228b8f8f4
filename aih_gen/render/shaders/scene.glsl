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

const float GRAIN_SIDE = 0.077;   // m
const vec3 BLEED = vec3(0.20, 0.09, 0.06);  // light bleeds past the terminator in skin, red the farthest

// Linear light as a camera shows it: highlights roll off above half, then the sRGB curve but for its straight foot, from
// roots, which are cheaper than powers.
vec3 display(vec3 linear) {
    vec3 shown = mix(linear, 1.0 - 0.25 / max(linear, 0.5), step(0.5, linear));
    vec3 root = sqrt(max(shown, 0.0)), fourth = sqrt(root);
    return 0.662002687 * root + 0.684122060 * fourth - 0.323583601 * sqrt(fourth) - 0.0225411470 * shown;
}

// What white things of normal n reflect of the light from all around.
vec3 soft_light(vec3 n) {
    vec3 soft = harmonics[0].rgb + harmonics[1].rgb * n.x + harmonics[2].rgb * n.y + harmonics[3].rgb * n.z
        + harmonics[4].rgb * n.x * n.y + harmonics[5].rgb * n.y * n.z + harmonics[6].rgb * (3.0 * n.z * n.z - 1.0)
        + harmonics[7].rgb * n.x * n.z + harmonics[8].rgb * (n.x * n.x - n.y * n.y);
    return max(soft, 0.03 * harmonics[0].rgb);
}
