#version 330
// Smooth outlines: a pixel's colour is the mean over four samples, each of which takes the colour of the pixel, this
// one or a neighbour on its side, that shows the nearest depth; and the share of samples that are covered.
uniform sampler2D drawn_alone;
uniform sampler2D geometry;
uniform sampler2D drawn_together;
uniform sampler2D samples;  // depth of four samples a pixel
uniform int side;           // 0 right, 1 left

layout(location = 0) out vec4 alone;
#ifdef SHADOWS
layout(location = 1) out vec4 together;
#endif

const float SAME = 0.004;  // m, depths within a pixel of one surface that is seen at no very flat angle

float metres(float depth) {
    float near = depth_range.x, far = depth_range.y;
    return 2.0 * far * near / (far + near - (2.0 * depth - 1.0) * (far - near));
}

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    float centre = texelFetch(geometry, pixel, 0).r;
    alone = texelFetch(drawn_alone, pixel, 0);
#ifdef SHADOWS
    together = texelFetch(drawn_together, pixel, 0);
#endif
    vec4 depths = vec4(
        texelFetch(samples, 2 * pixel, 0).r, texelFetch(samples, 2 * pixel + ivec2(1, 0), 0).r,
        texelFetch(samples, 2 * pixel + ivec2(0, 1), 0).r, texelFetch(samples, 2 * pixel + 1, 0).r);
    vec4 covered = vec4(lessThan(depths, vec4(1.0)));
    depths = vec4(metres(depths.x), metres(depths.y), metres(depths.z), metres(depths.w));
    vec4 off = abs(depths - abs(centre));
    bool empty = dot(covered, covered) == 0.0;
    bool edge = max(max(off.x, off.y), max(off.z, off.w)) > SAME && !empty;
    int last = int(size) - 1;
    ivec2 lowest = ivec2(0, side * (last + 1));
    vec4 sum = vec4(0.0), shaded = vec4(0.0);
    int count = edge ? 4 : 0;  // loops end early where no pixel is on an edge, branches do not
    for (int k = 0; k < count; k++) {
        ivec2 step = ivec2(2 * (k & 1) - 1, (k & 2) - 1);
        float depth = depths[k], best = covered[k] > 0.0 ? 1e6 : 0.0;
        ivec2 chosen = pixel;
        for (int j = 0; j < 4; j++) {
            ivec2 candidate = clamp(pixel + step * ivec2(j & 1, j >> 1), lowest, lowest + last);
            float there = texelFetch(geometry, candidate, 0).r;
            float error = abs(abs(there) - depth);
            if (error < best) { best = error; chosen = candidate; }
        }
        if (best > 0.0 && best < 1e6) {
            sum += texelFetch(drawn_alone, chosen, 0);
#ifdef SHADOWS
            shaded += texelFetch(drawn_together, chosen, 0);
#endif
        }
    }
    if (edge) {
        alone = vec4(sum.rgb / max(sum.a, 1.0), sum.a * 0.25);
#ifdef SHADOWS
        together = vec4(shaded.rgb / max(sum.a, 1.0), sum.a * 0.25);
#endif
    } else if (empty) {
        alone.a = 0.0;
#ifdef SHADOWS
        together.a = 0.0;
#endif
    }
}
