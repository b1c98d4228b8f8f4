#version 330
// Mean colour of the covered samples of a pixel, and the share of samples that are covered; geometry as it is.
uniform sampler2D fine;    // supersampled colours
uniform sampler2D coarse;  // colours at pixel centres
uniform sampler2D shape;   // depth and part at pixel centres
uniform int factor;
uniform int row;           // of the sheet, where this scene begins
layout(location = 0) out vec4 colour;
layout(location = 1) out vec2 geometry;

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy) - ivec2(0, row);
    vec4 sum = vec4(0.0);
    for (int y = 0; y < factor; y++)
        for (int x = 0; x < factor; x++) {
            vec4 s = texelFetch(fine, pixel * factor + ivec2(x, y), 0);
            sum += vec4(s.rgb * s.a, s.a);
        }
    colour = sum.a > 0.0 ? vec4(sum.rgb / sum.a, sum.a / float(factor * factor)) : texelFetch(coarse, pixel, 0);
    geometry = texelFetch(shape, pixel, 0).rg;
}
