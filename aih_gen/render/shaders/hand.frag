#version 330
// What lies at the centre of the pixel, to be shaded afterwards: triangles of a few pixels are dear to shade one by one.
uniform float part_sign;  // 1 on the hand, -1 on the forearm

in float v_depth;
in vec4 v_surface;
layout(location = 0) out float geometry;  // depth in metres, negative for the forearm; infinite off both
layout(location = 1) out vec4 surface;    // normal, region
#ifdef PLACES
in vec3 v_place;
layout(location = 2) out vec4 place;      // rest position
#endif

void main() {
    geometry = part_sign * v_depth;
    surface = v_surface;
#ifdef PLACES
    place = vec4(v_place, 0.0);
#endif
}
