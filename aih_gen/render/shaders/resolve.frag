#version 330
// Mean colour of the covered samples of a pixel, and the share of samples that are covered; geometry as it is.
uniform sampler2DMS alone;
uniform sampler2DMS together;
uniform sampler2D shape;   // depth and part at pixel centres
uniform int samples;
uniform int row;           // of the sheet, where this scene begins
layout(location = 0) out vec4 colour;
layout(location = 1) out vec4 shaded;
layout(location = 2) out vec2 geometry;

void gather(ivec2 pixel, inout vec4 sum, inout vec3 shaded_sum) {
    for (int k = 0; k < samples; k++) {
        vec4 s = texelFetch(alone, pixel, k);
        sum += s;
        shaded_sum += texelFetch(together, pixel, k).rgb;
    }
}

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy) - ivec2(0, row);
    geometry = texelFetch(shape, pixel, 0).rg;
    vec4 sum = vec4(0.0);
    vec3 shaded_sum = vec3(0.0);
    gather(pixel, sum, shaded_sum);
    float covered = sum.a / float(samples);
    if (sum.a == 0.0 && geometry.y > 0.0)  // a sliver between the samples: its neighbours' colour
        for (int k = 0; k < 8; k++) {
            int place = k < 4 ? k : k + 1;
            ivec2 neighbour = clamp(pixel + ivec2(place % 3 - 1, place / 3 - 1), ivec2(0), textureSize(shape, 0) - 1);
            gather(neighbour, sum, shaded_sum);
        }
    float weight = max(sum.a, 1.0);
    colour = vec4(sum.rgb / weight, covered);
    shaded = vec4(shaded_sum / weight, covered);
}
