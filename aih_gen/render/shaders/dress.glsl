// What hands and wrists wear, painted over skin: ``dress.DRESS`` has the same layout (std140). Places and directions
// are the resting right hand's, axes are in camera space.
layout(std140) uniform Dress {
    vec3 glove;
    float glove_cuff;        // m from the wrist
    ivec4 worn;              // rings right and left, bands right and left
    vec4 watch_metal;        // colour; 1 for a screen without hands
    vec3 watch_dial;
    float knitted;           // 1 wool, 0 rubber
    vec4 arm_axes[6];        // of either forearm: to the elbow, out of the back, to the thumb's side
    vec4 ring_place[8];      // middle; half the width
    vec4 ring_along[8];      // along the finger
    vec4 ring_axis[8];
    vec4 ring_colour[8];
    vec4 gem_place[8];       // middle; radius, 0 for none
    vec4 gem_out[8];         // axis out of the finger's back
    vec4 gem_colour[8];
    vec4 band[6];            // m from the wrist, half the width, beads, whether of metal
    vec4 band_colour[6];
};

const float FINGER = 0.0125;   // m, farther from a finger's middle lies another finger
const float CASE = 1.5;        // beyond this "reach" lies a watch's case

struct Surface {
    vec3 colour, n, bleed;
    float rough, sheen, metallic;
};

#ifdef GLOVED
void wear_glove(inout Surface s, vec3 place, float reach, vec4 fine, float uneven, float pixel, vec3 view) {
    float to_edge = glove_cuff - reach;
    if (to_edge < 0.0) return;
    float coarse = texture(grain, place / (GRAIN_SIDE * 3.0) + noise_seed).r - 0.5;
    float rim = 1.0 - max(dot(s.n, view), 0.0);
    float seen = 1.0 - smoothstep(0.0006, 0.0016, pixel);  // stitches that are finer than pixels are none
    float ribs = sin(2200.0 * place.z + 1.5 * sin(900.0 * place.x)) * seen;
    float rows = sin(1500.0 * place.x) * seen;
    float hem = smoothstep(0.0, 0.0025, to_edge);
    s.bleed = vec3(0.03);
    if (knitted > 0.5) {
        s.colour = glove * (1.0 + 0.9 * uneven + 0.18 * ribs + 0.10 * rows) * (1.0 - 0.25 * fine.x);
        s.colour *= (1.0 + 0.5 * rim * rim) * mix(0.6, 1.0, hem);
        s.rough = 0.95;
        s.sheen = 0.0;
        s.n = normalize(s.n + (0.9 * uneven + 0.15 * ribs) * vec3(1.0, 0.6, -0.4) + 0.5 * coarse * vec3(-0.5, 1.0, 0.3));
    } else {
        s.colour = glove * (1.0 + 0.25 * coarse) * (1.0 - 0.35 * fine.x) * mix(0.75, 1.0, hem);
        s.rough = 0.42;
        s.sheen = 0.05;
        s.n = normalize(s.n + 1.1 * coarse * vec3(1.0, -0.6, 0.5));
    }
}
#endif

#ifdef RINGED
void wear_rings(inout Surface s, vec3 place, float pixel) {
    for (int k = 4 * side; k < 4 * side + worn[side]; k++) {
        vec3 from = place - ring_place[k].xyz, axis = ring_along[k].xyz;
        float along = dot(from, axis), width = ring_place[k].w;
        if (length(from - along * axis) > FINGER) continue;
        float cover = clamp((width - abs(along)) / pixel + 0.5, 0.0, 1.0);
        s.colour *= mix(1.0, 0.6, smoothstep(width + 0.0018, width, abs(along)));  // what it presses and shadows
        float t = clamp(along / width, -0.95, 0.95);
        s.n = normalize(mix(s.n, s.n * sqrt(1.0 - t * t) + 0.9 * t * ring_axis[k].xyz, cover));
        s.colour = mix(s.colour, ring_colour[k].rgb, cover);
        s.rough = mix(s.rough, 0.28, cover);
        s.metallic = max(s.metallic, cover);
        float radius = gem_place[k].w;
        float off = length(place - gem_place[k].xyz);
        float stone = radius > 0.0 ? clamp((radius - off) / pixel + 0.5, 0.0, 1.0) : 0.0;
        float facet = step(0.45 * radius, off);
        s.colour = mix(s.colour, gem_colour[k].rgb * mix(1.3, 0.7, facet), stone);
        s.n = normalize(mix(s.n, gem_out[k].xyz + facet * 0.8 * s.n, stone));
        s.rough = mix(s.rough, 0.22, stone);
        s.sheen = mix(s.sheen, 0.2, stone);
        s.metallic *= 1.0 - 0.7 * stone;
        s.bleed = mix(s.bleed, vec3(0.02), max(cover, stone));
    }
}
#endif

#ifdef BANDED
void wear_bands(inout Surface s, vec3 place, float reach, float uneven, float pixel) {
    for (int k = 3 * side; k < 3 * side + worn[2 + side]; k++) {
        float along = reach - band[k].x, width = band[k].y;
        float angle = atan(place.z, place.y) / 6.2831853, bead = fract(angle * band[k].z) - 0.5;
        float t = along / width;
        float round_bead = band[k].z > 0.0 ? sqrt(max(1.0 - 4.0 * bead * bead, 0.0)) : 1.0;
        float cover = clamp((width * round_bead - abs(along)) / pixel + 0.5, 0.0, 1.0);
        bool metal = band[k].w > 0.5;
        s.colour *= mix(1.0, 0.65, smoothstep(width + 0.0025, width, abs(along)));
        t = clamp(t, -0.95, 0.95);
        // Narrow bands are round, wide ones flat with round edges; metal straps have links.
        float bent = width > 0.004 ? t * t * t : t;
        vec3 tangent = cross(arm_axes[3 * side].xyz, s.n);
        vec3 n = s.n * sqrt(1.0 - bent * bent) + bent * arm_axes[3 * side].xyz + 1.5 * bead * step(0.5, band[k].z) * tangent;
        float link = metal && width > 0.006 ? abs(fract(angle * 26.0) - 0.5) : 0.0;
        float gap = smoothstep(0.5, 0.38, link) * mix(1.0, 0.75, smoothstep(0.25, 0.35, abs(t)) * step(0.006, width) * band[k].w);
        s.n = normalize(mix(s.n, n, cover));
        s.colour = mix(s.colour, band_colour[k].rgb * mix(0.35, 1.0, gap) * (1.0 + (metal ? 0.0 : 0.5) * uneven), cover);
        s.rough = mix(s.rough, metal ? 0.35 : 0.55, cover);
        s.sheen = mix(s.sheen, 0.03, cover);
        s.metallic = max(s.metallic, metal ? cover : 0.0);
        s.bleed = mix(s.bleed, vec3(0.02), cover);
    }
    if (reach > CASE) {
        vec3 along = arm_axes[3 * side].xyz, out_of_back = arm_axes[3 * side + 1].xyz, across = arm_axes[3 * side + 2].xyz;
        float radius = length(place.xz), angle = atan(place.z, place.x);
        bool top = place.y > 0.97;
        vec3 outwards = normalize(place.x * along + place.z * across);
        s.n = normalize(top ? out_of_back + smoothstep(0.8, 1.0, radius) * outwards : outwards + 0.3 * (place.y - 0.8) * out_of_back);
        bool dial = top && radius < 0.82;
        float hour = abs(fract(angle * 12.0 / 6.2831853) - 0.5);
        float mark = step(0.42, hour) * step(0.6, radius) * step(radius, 0.75);
        vec2 hands = vec2(abs(dot(place.xz, vec2(0.8, -0.6))), abs(dot(place.xz, vec2(0.3, 0.954))));
        mark = max(mark, step(hands.x, 0.05) * step(0.0, dot(place.xz, vec2(0.6, 0.8))) * step(radius, 0.6));
        mark = max(mark, step(hands.y, 0.06) * step(0.0, dot(place.xz, vec2(0.954, -0.3))) * step(radius, 0.45));
        vec3 ink = vec3(dot(watch_dial, vec3(0.333)) < 0.2 ? 0.6 : 0.02);
        s.colour = dial ? mix(watch_dial, ink, mark * (1.0 - watch_metal.w)) : watch_metal.rgb;
        s.rough = dial ? 0.25 : 0.35;
        s.sheen = dial ? 0.04 : 0.05;
        s.metallic = dial ? 0.0 : 1.0;
        s.bleed = vec3(0.0);
    }
}
#endif
