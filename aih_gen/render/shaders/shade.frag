#version 330
// Skin and cloth under soft light and up to four lamps, twice: as if the other hand were not there, and in its shadow.
// Software renderers carry out both sides of every branch, so what a scene does not need is left out by SHADOWS,
// SLEEVED, TEXTURED, DETAILED, and DRESSED with its parts.
uniform sampler2D geometry;  // of ``hand.frag``
uniform sampler2D surfaces;
uniform sampler2D places;
uniform sampler3D detail;    // in rest space: crease, vein, flush, nail
uniform sampler3D painted_volume;
uniform sampler3D grain;     // tiles
uniform sampler2DShadow shadow_map;  // right hand's depth from the first lamp, then the left hand's
uniform int side;            // 0 right, 1 left

layout(location = 0) out vec4 alone;
#ifdef SHADOWS
layout(location = 1) out vec4 together;
#endif


#ifdef DRESSED
#include "dress.glsl"
#endif

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    float depth = texelFetch(geometry, pixel, 0).r;
    vec4 turned = texelFetch(surfaces, pixel, 0);
    vec3 position = vec3((gl_FragCoord.xy - vec2(0.0, float(side) * size) - 0.5 - intrinsics.zw) / intrinsics.xy, 1.0);
    vec3 view = -normalize(position);
    position *= abs(depth);
    vec3 n = normalize(turned.xyz);
    float rough = roughness, sheen = 0.02;
    vec3 bleed = BLEED;
#if defined(TEXTURED) || defined(DETAILED)
    vec3 place = texelFetch(places, pixel, 0).xyz, in_volume = (place - volume_origin) / volume_extent;
#endif
    vec3 colour = mix(back, palm, max(turned.w, 0.0)), nail_colour = nail;
#ifdef TEXTURED
    vec4 painted = texture(painted_volume, in_volume);
    if (painted.a > 0.0 && depth > 0.0) nail_colour = colour = pow(painted.rgb / painted.a, vec3(2.2));
#endif
#ifdef DETAILED
    float uneven = texture(grain, (place + noise_seed) / GRAIN_SIDE).r - 0.5;
    vec4 fine = texture(detail, in_volume);
    colour *= 1.0 + mottle * 2.0 * uneven * vec3(0.7, 1.0, 1.0);
    colour *= 1.0 - flush * fine.z * vec3(0.02, 0.30, 0.26);
    colour *= 1.0 - vein * fine.y * vec3(0.22, 0.10, 0.06);
    colour *= 1.0 - crease * fine.x * vec3(0.35, 0.45, 0.48);
    float nails = fine.w, gloss = 0.3;
#ifdef POLISHED
    nail_colour = nail;
    nails = smoothstep(0.25, 0.6, nails);
    gloss = 0.22;
#endif
    colour = mix(colour, nail_colour, nails);
    rough = mix(roughness, gloss, nails);
    sheen = mix(0.02, 0.05, nails);
#endif
#ifdef SLEEVED
    float reach = -turned.w;
    if (depth < 0.0 && reach > sleeve_start) {
        float band = stripe_width > 0.0 ? step(0.5, fract(reach / (2.0 * stripe_width))) : 0.0;
        colour = mix(sleeve, stripe, band);
        rough = 0.9;
        sheen = 0.01;
        bleed = vec3(0.05);
#ifdef DETAILED
        float coarse = texture(grain, place / (GRAIN_SIDE * 6.0) + noise_seed).r - 0.5;
        float cuff = smoothstep(0.0, 0.003, reach - sleeve_start);
        colour *= (1.0 + 0.5 * uneven + 0.8 * coarse) * mix(0.55, 1.0, cuff);
        n = normalize(n + 0.5 * coarse * vec3(1.0, 0.5, -0.7));
#endif
    }
#endif

#ifdef DRESSED
    Surface dressed = Surface(colour, n, bleed, rough, sheen, 0.0);
    float footprint = abs(depth) / intrinsics.x;
#ifdef GLOVED
#ifdef SLEEVED
    if (depth > 0.0 || reach < sleeve_start)
#endif
    wear_glove(dressed, place, max(-turned.w, 0.0), fine, uneven, footprint, view);
#endif
#ifdef RINGED
    if (depth > 0.0) wear_rings(dressed, place, footprint);
#endif
#ifdef BANDED
    if (depth < 0.0) wear_bands(dressed, place, -turned.w, uneven, footprint);
#endif
    colour = dressed.colour;
    n = dressed.n;
    bleed = dressed.bleed;
    rough = dressed.rough;
    sheen = dressed.sheen;
#endif

    bleed *= smoothstep(0.02, 0.35, dot(colour, vec3(0.333)));  // dark skin scatters little
    vec3 soft = soft_light(n);
    float shine = 2.0 / (rough * rough * rough * rough) - 2.0;
    float rim = 1.0 - max(dot(n, view), 0.0);
    vec3 rest = colour * (1.0 + 0.2 * rim * rim * rim * rim) * soft;  // what skin scatters, it let through before
#ifdef DRESSED
    // Metal mirrors its surroundings: brighter above than below, and not evenly so.
    vec3 mirrored = reflect(-view, n);
    float sky = smoothstep(-0.35, 0.45, 0.25 * sin(7.0 * mirrored.x) - mirrored.y);
    rest = mix(rest, colour * soft_light(mirrored) * mix(0.3, 1.6, sky), dressed.metallic);
    vec3 scattered = colour * (1.0 - dressed.metallic), gloss_colour = mix(vec3(sheen), 0.6 * colour, dressed.metallic);
#else
    vec3 scattered = colour, gloss_colour = vec3(sheen);
#endif
    vec3 first = vec3(0.0);
    for (int k = 0; k < lamps; k++) {
        float facing = dot(n, lamp_direction[k].xyz);
        float h = max(dot(n, normalize(lamp_direction[k].xyz + view)), 0.0);
        vec3 given = lamp_colour[k].rgb * (scattered * max((facing + bleed) / (1.0 + bleed), 0.0)
            + max(facing, 0.0) * gloss_colour * (shine + 8.0) / 8.0 * pow(h, shine));
        if (k == 0) first = given; else rest += given;
    }
#ifdef SHADOWS
    vec3 from = (position + n * 0.0025 - shadow_centre) / shadow_radius;
    vec3 lamp_place = vec3(dot(lamp_axes[0].xyz, from), dot(lamp_axes[1].xyz, from), dot(lamp_axes[2].xyz, from));
    float inside = 1.0 - smoothstep(0.75, 0.97, length(lamp_place.xy));  // the map ends softly
    vec2 texel = vec2(1.0, 0.5) / float(textureSize(shadow_map, 0).x);
    vec3 seen = vec3(lamp_place.x * 0.5 + 0.5, lamp_place.y * 0.25 + 0.25, lamp_place.z * 0.5 + 0.5 - 0.004 / shadow_radius);
    vec2 lit = vec2(0.0);  // by this hand, by the other
    for (int k = 0; k < 2; k++) {
        vec3 there = seen + vec3(texel * (k == 0 ? vec2(-0.5) : vec2(0.5)), 0.0);
        lit += vec2(texture(shadow_map, there + vec3(0.0, 0.5 * float(side), 0.0)),
                    texture(shadow_map, there + vec3(0.0, 0.5 * float(1 - side), 0.0)));
    }
    lit = mix(vec2(1.0), lit * 0.5, inside);
    // What bleeds around to the dark side is shadowed by the hand's shape already.
    float own = mix(1.0, lit.x, smoothstep(-0.1, 0.25, dot(n, lamp_direction[0].xyz)));
    alone = vec4(display(rest + first * own), 1.0);
    together = vec4(display(rest + first * min(own, lit.y)), 1.0);
#else
    alone = vec4(display(rest + first), 1.0);
#endif
}
