#version 330
// What lies at the centre of the pixel.
uniform float part;  // 1 hand, 2 arm
centroid in vec3 v_position;
layout(location = 0) out vec2 geometry;  // depth in metres, part

void main() { geometry = vec2(v_position.z, part); }
