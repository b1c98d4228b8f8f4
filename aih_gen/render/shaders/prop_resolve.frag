#version 330
// Smooth outlines of what is behind the hands: where depths or coverage leap, a pixel is the mean of its surroundings. One
// that is not quite sharp suffices there, as lenses are focused on the hands.
uniform sampler2D prop_geometry;
uniform sampler2D prop_together;
uniform sampler2D prop_right;
uniform sampler2D prop_left;

layout(location = 0) out vec4 together;
#ifdef SHADOWS
layout(location = 1) out vec4 right_alone;
layout(location = 2) out vec4 left_alone;
#endif

const float NOTHING = 1e6, LEAP = 0.012;  // m, and the share of the depth that is no leap

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    int last = int(size) - 1;
    float centre = min(texelFetch(prop_geometry, pixel, 0).r, NOTHING), most = 0.0;
    for (int k = 0; k < 4; k++) {
        ivec2 way = ivec2((k & 1) * (k - 2), (1 - (k & 1)) * (k - 1));
        float depth = min(texelFetch(prop_geometry, clamp(pixel + way, 0, last), 0).r, NOTHING);
        most = max(most, abs(depth - centre));
    }
    together = texelFetch(prop_together, pixel, 0);
#ifdef SHADOWS
    right_alone = texelFetch(prop_right, pixel, 0);
    left_alone = texelFetch(prop_left, pixel, 0);
#endif
    bool edge = most > LEAP * (1.0 + centre);
    int count = edge ? 9 : 0;  // loops end early where no pixel is on an edge, branches do not
    vec4 sum = vec4(0.0), sum_right = vec4(0.0), sum_left = vec4(0.0);
    for (int k = 0; k < count; k++) {
        ivec2 way = ivec2(k % 3, k / 3) - 1;
        float weight = float((2 - abs(way.x)) * (2 - abs(way.y)));
        ivec2 place = clamp(pixel + way, 0, last);
        weight *= texelFetch(prop_geometry, place, 0).r < NOTHING ? 1.0 : 0.0;
        sum += weight * vec4(texelFetch(prop_together, place, 0).rgb, 1.0);
#ifdef SHADOWS
        sum_right += weight * vec4(texelFetch(prop_right, place, 0).rgb, 1.0);
        sum_left += weight * vec4(texelFetch(prop_left, place, 0).rgb, 1.0);
#endif
    }
    if (edge) {
        together = vec4(sum.rgb / max(sum.a, 1.0), sum.a / 16.0);
#ifdef SHADOWS
        right_alone = vec4(sum_right.rgb / max(sum.a, 1.0), sum.a / 16.0);
        left_alone = vec4(sum_left.rgb / max(sum.a, 1.0), sum.a / 16.0);
#endif
    }
}
