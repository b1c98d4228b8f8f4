#version 330
// Skin under soft light and up to four lamps; beside the colour, the geometry at this sample.
uniform vec3 ambient[4];     // spherical harmonics: constant, x, y, z
uniform vec3 lamp_direction[4];
uniform vec3 lamp_colour[4];
uniform int lamps;
uniform float roughness;
uniform float mottle;
uniform float noise_seed;
uniform float part;          // 1 hand, 2 arm

in vec3 v_position;
in vec3 v_normal;
in vec3 v_albedo;
in vec3 v_rest;

layout(location = 0) out vec4 colour;
layout(location = 1) out vec2 geometry;  // depth in metres, part

float hash(vec3 p) {
    p = fract(p * 0.3183099 + 0.1);
    p *= 17.0;
    return fract(p.x * p.y * p.z * (p.x + p.y + p.z));
}

float noise(vec3 p) {
    vec3 cell = floor(p), f = fract(p);
    f = f * f * (3.0 - 2.0 * f);
    vec2 o = vec2(0.0, 1.0);
    return mix(mix(mix(hash(cell + o.xxx), hash(cell + o.yxx), f.x), mix(hash(cell + o.xyx), hash(cell + o.yyx), f.x), f.y),
               mix(mix(hash(cell + o.xxy), hash(cell + o.yxy), f.x), mix(hash(cell + o.xyy), hash(cell + o.yyy), f.x), f.y), f.z);
}

void main() {
    vec3 n = normalize(gl_FrontFacing ? v_normal : -v_normal);
    vec3 view = normalize(-v_position);
    vec3 p = v_rest + noise_seed;
    float uneven = 0.6 * (noise(p * 90.0) - 0.5) + 0.4 * (noise(p * 420.0) - 0.5);
    vec3 skin = v_albedo * (1.0 + mottle * 2.0 * uneven * vec3(0.7, 1.0, 1.0));

    vec3 soft = max(ambient[0] + ambient[1] * n.x + ambient[2] * n.y + ambient[3] * n.z, 0.0);
    vec3 light = soft;
    vec3 gloss = vec3(0.0);
    float shine = 2.0 / pow(roughness, 4.0) - 2.0;
    for (int k = 0; k < lamps; k++) {
        float facing = dot(n, lamp_direction[k]);
        // Light bleeds past the terminator in skin, red the farthest.
        vec3 wrap = vec3(0.28, 0.14, 0.10);
        light += lamp_colour[k] * max((facing + wrap) / (1.0 + wrap), 0.0);
        float h = max(dot(n, normalize(lamp_direction[k] + view)), 0.0);
        gloss += lamp_colour[k] * max(facing, 0.0) * 0.02 * (shine + 8.0) / 8.0 * pow(h, shine);
    }
    float rim = pow(1.0 - max(dot(n, view), 0.0), 4.0);
    vec3 linear = skin * light + gloss + 0.07 * rim * soft;
    colour = vec4(pow(clamp(linear, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
    geometry = vec2(v_position.z, part);
}
