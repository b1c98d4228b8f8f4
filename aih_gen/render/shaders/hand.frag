#version 330
// Skin and cloth under soft light and up to four lamps, twice: as if the other hand were not there, and in its shadow.
// Software renderers carry out both sides of every branch, so what a scene does not need is left out by SHADOWS,
// SLEEVED, TEXTURED and DETAILED.
uniform vec3 harmonics[9];   // soft light: 1, x, y, z, xy, yz, 3z^2-1, xz, x^2-y^2 of the normal
uniform vec3 lamp_direction[4];
uniform vec3 lamp_colour[4];
uniform int lamps;

uniform vec3 back;           // linear reflectances
uniform vec3 palm;
uniform vec3 nail;
uniform float roughness;
uniform float mottle;        // amplitude of the fine unevenness, and of the next three
uniform float crease;
uniform float vein;
uniform float flush;
uniform float noise_seed;

uniform vec3 sleeve;
uniform vec3 stripe;
uniform float stripe_width;  // m, 0 for plain cloth
uniform float sleeve_start;  // m from the wrist

uniform sampler3D detail;    // in rest space: crease, vein, flush, nail
uniform sampler3D texture_volume;
uniform vec3 volume_origin;
uniform vec3 volume_extent;
uniform sampler3D grain;     // tiles

uniform sampler2DShadow shadow_map;  // right hand's depth from the first lamp, beside the left hand's
uniform mat3 lamp_axes;      // camera space -> lamp space, whose z points away from the lamp
uniform vec3 shadow_centre;
uniform float shadow_radius;
uniform int side;            // 0 right, 1 left

centroid in vec3 v_position;
centroid in vec3 v_normal;
centroid in vec3 v_rest;
centroid in vec2 v_surface;  // palm, m along the forearm

layout(location = 0) out vec4 alone;
layout(location = 1) out vec4 together;

const float GRAIN_SIDE = 0.077;   // m
const vec3 BLEED = vec3(0.20, 0.09, 0.06);  // light bleeds past the terminator in skin, red the farthest

float lit_by_lamp(int hand, vec3 normal) {
    vec3 place = (lamp_axes * (v_position + normal * 0.0025 - shadow_centre)) / shadow_radius;
    float inside = 1.0 - smoothstep(0.75, 0.97, length(place.xy));  // the map ends softly
    if (inside <= 0.0) return 1.0;
    float depth = place.z * 0.5 + 0.5 - 0.004 / shadow_radius;
    vec2 at = vec2((place.x * 0.5 + 0.5 + float(hand)) * 0.5, place.y * 0.5 + 0.5);
    vec2 texel = vec2(0.75) / vec2(textureSize(shadow_map, 0));
    float sum = 0.0;
    for (int k = 0; k < 4; k++) {
        vec2 offset = texel * vec2(k < 2 ? -1.0 : 1.0, (k & 1) == 0 ? -1.0 : 1.0);
        sum += texture(shadow_map, vec3(at + offset, depth));
    }
    return mix(1.0, sum * 0.25, inside);
}

vec3 display(vec3 linear) { return pow(clamp(linear, 0.0, 1.0), vec3(1.0 / 2.2)); }

void main() {
    vec3 n = normalize(gl_FrontFacing ? v_normal : -v_normal);
    vec3 view = normalize(-v_position);
    float rough = roughness, sheen = 0.02;
    vec3 bleed = BLEED;
    vec3 place = (v_rest - volume_origin) / volume_extent;
    vec3 colour = mix(back, palm, v_surface.x), nail_colour = nail;
#ifdef TEXTURED
    vec4 painted = texture(texture_volume, place);
    if (painted.a > 0.0) nail_colour = colour = pow(painted.rgb / painted.a, vec3(2.2));
#endif
#ifdef DETAILED
    float uneven = texture(grain, (v_rest + noise_seed) / GRAIN_SIDE).r - 0.5;
    vec4 fine = texture(detail, place);
    colour *= 1.0 + mottle * 2.0 * uneven * vec3(0.7, 1.0, 1.0);
    colour *= 1.0 - flush * fine.z * vec3(0.02, 0.30, 0.26);
    colour *= 1.0 - vein * fine.y * vec3(0.22, 0.10, 0.06);
    colour *= 1.0 - crease * fine.x * vec3(0.35, 0.45, 0.48);
    colour = mix(colour, nail_colour, fine.w);
    rough = mix(roughness, 0.3, fine.w);
    sheen = mix(0.02, 0.05, fine.w);
#endif
#ifdef SLEEVED
    if (v_surface.y > sleeve_start) {
        float band = stripe_width > 0.0 ? step(0.5, fract(v_surface.y / (2.0 * stripe_width))) : 0.0;
        colour = mix(sleeve, stripe, band);
        rough = 0.9;
        sheen = 0.01;
        bleed = vec3(0.05);
#ifdef DETAILED
        float coarse = texture(grain, v_rest / (GRAIN_SIDE * 6.0) + noise_seed).r - 0.5;
        float cuff = smoothstep(0.0, 0.003, v_surface.y - sleeve_start);
        colour *= (1.0 + 0.5 * uneven + 0.8 * coarse) * mix(0.55, 1.0, cuff);
        n = normalize(n + 0.5 * coarse * vec3(1.0, 0.5, -0.7));
#endif
    }
#endif

    bleed *= smoothstep(0.02, 0.35, dot(colour, vec3(0.333)));  // dark skin scatters little
    vec3 soft = harmonics[0] + harmonics[1] * n.x + harmonics[2] * n.y + harmonics[3] * n.z + harmonics[4] * n.x * n.y
        + harmonics[5] * n.y * n.z + harmonics[6] * (3.0 * n.z * n.z - 1.0) + harmonics[7] * n.x * n.z
        + harmonics[8] * (n.x * n.x - n.y * n.y);
    soft = max(soft, 0.03 * harmonics[0]);
    float shine = 2.0 / (rough * rough * rough * rough) - 2.0;
    float rim = 1.0 - max(dot(n, view), 0.0);
    vec3 rest = (colour + 0.07 * rim * rim * rim * rim) * soft;
    vec3 first = vec3(0.0);
    for (int k = 0; k < lamps; k++) {
        float facing = dot(n, lamp_direction[k]);
        float h = max(dot(n, normalize(lamp_direction[k] + view)), 0.0);
        vec3 given = lamp_colour[k] * (colour * max((facing + bleed) / (1.0 + bleed), 0.0)
            + max(facing, 0.0) * sheen * (shine + 8.0) / 8.0 * pow(h, shine));
        if (k == 0) first = given; else rest += given;
    }
#ifdef SHADOWS
    // What bleeds around to the dark side is shadowed by the hand's shape already.
    float own = mix(1.0, lit_by_lamp(side, n), smoothstep(-0.1, 0.25, dot(n, lamp_direction[0])));
    float other = min(own, lit_by_lamp(1 - side, n));
    alone = vec4(display(rest + first * own), 1.0);
    together = vec4(display(rest + first * other), 1.0);
#else
    alone = together = vec4(display(rest + first), 1.0);
#endif
}
