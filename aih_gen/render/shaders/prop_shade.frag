#version 330
// What is behind the hands under soft light and up to four lamps: in the shadows of both hands, of the right, of the left.
uniform sampler2D prop_geometry;  // of ``prop.frag``
uniform sampler2D prop_surface;
uniform sampler2D prop_albedo;
uniform sampler3D grain;     // tiles
uniform sampler2DShadow shadow_map;  // right hand's depth from the first lamp, then the left hand's

layout(location = 0) out vec4 together;
#ifdef SHADOWS
layout(location = 1) out vec4 right_alone;
layout(location = 2) out vec4 left_alone;

// Light of the first lamp that passes each hand; the farther behind the hands, the softer are the edges.
vec2 passed(vec3 position, vec3 n) {
    vec3 from = (position + n * 0.0025 - shadow_centre) / shadow_radius;
    vec3 place = vec3(dot(lamp_axes[0].xyz, from), dot(lamp_axes[1].xyz, from), dot(lamp_axes[2].xyz, from));
    vec3 seen = vec3(place.x * 0.5 + 0.5, place.y * 0.25 + 0.25, min(place.z * 0.5 + 0.5 - 0.004 / shadow_radius, 1.0));
    float behind = max(place.z, 0.0) * shadow_radius;
    vec2 reach = vec2(1.0, 0.5) / float(textureSize(shadow_map, 0).x) * (0.8 + 10.0 * behind);
    vec2 lit = vec2(0.0);
    for (int k = 0; k < 4; k++) {
        vec2 way = k < 2 ? vec2(float(2 * k - 1), 0.5) : vec2(-0.4, float(5 - 2 * k));
        vec3 there = seen + vec3(0.8 * reach * way, 0.0);
        there.y = clamp(there.y, 0.002, 0.498);
        lit += vec2(texture(shadow_map, there), texture(shadow_map, there + vec3(0.0, 0.5, 0.0)));
    }
    float inside = (1.0 - smoothstep(0.75, 0.97, length(place.xy))) * (1.0 - smoothstep(0.35, 1.0, behind / SHADOW_FADED));
    return mix(vec2(1.0), lit / 4.0, inside);
}
#endif

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    vec4 turned = texelFetch(prop_surface, pixel, 0), painted = texelFetch(prop_albedo, pixel, 0);
    vec3 ray = vec3((gl_FragCoord.xy - 0.5 - intrinsics.zw) / intrinsics.xy, 1.0), view = -normalize(ray);
    vec3 position = ray * texelFetch(prop_geometry, pixel, 0).r, n = normalize(turned.xyz);
    vec3 colour = painted.rgb * painted.rgb;
    float rough = max(turned.w, 0.2), scatter = painted.a, sheen = mix(0.05, 0.015, rough);
#ifdef DETAILED
    float uneven = texture(grain, (position + noise_seed) / GRAIN_SIDE).r - 0.5;
    float cloth = step(0.9, rough) * (1.0 - scatter);  // rough as cloth: woven and creased, as sleeves are
    float coarse = cloth * (texture(grain, position / (GRAIN_SIDE * 6.0) + noise_seed).r - 0.5);
    colour *= 1.0 + uneven * mix(0.1 + 0.25 * cloth, 2.0 * mottle, scatter) + 0.4 * coarse;
    n = normalize(n + 0.7 * coarse * vec3(1.0, 0.5, -0.7));
#endif
    vec3 bleed = BLEED * scatter * smoothstep(0.02, 0.35, dot(colour, vec3(0.333)));
    float shine = 2.0 / (rough * rough * rough * rough) - 2.0;
    float rim = 1.0 - max(dot(n, view), 0.0);
    vec3 rest = colour * (1.0 + 0.2 * rim * rim * rim * rim) * soft_light(n);
    vec3 first = vec3(0.0);
    for (int k = 0; k < lamps; k++) {
        float facing = dot(n, lamp_direction[k].xyz);
        float h = max(dot(n, normalize(lamp_direction[k].xyz + view)), 0.0);
        vec3 given = lamp_colour[k].rgb * (colour * max((facing + bleed) / (1.0 + bleed), 0.0)
            + max(facing, 0.0) * sheen * (shine + 8.0) / 8.0 * pow(h, shine));
        if (k == 0) first = given; else rest += given;
    }
#ifdef SHADOWS
    vec2 lit = passed(position, n);
    together = vec4(display(rest + first * min(lit.x, lit.y)), 1.0);
    right_alone = vec4(display(rest + first * lit.x), 1.0);
    left_alone = vec4(display(rest + first * lit.y), 1.0);
#else
    together = vec4(display(rest + first), 1.0);
#endif
}
