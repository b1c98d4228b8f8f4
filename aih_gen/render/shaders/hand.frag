#version 330
// What lies at the centre of the pixel, to be shaded afterwards: triangles of a few pixels are dear to shade one by one.
uniform int hand_faces;  // the forearm's come after these

in vec4 v_place;
in vec4 v_surface;
layout(location = 0) out vec4 place;    // rest position; depth in metres, negative for the forearm
layout(location = 1) out vec4 surface;  // normal, region

void main() {
    place = vec4(v_place.xyz, gl_PrimitiveID < hand_faces ? v_place.w : -v_place.w);
    surface = v_surface;
}
