#version 330
// One triangle over everything, just before the farthest depth.
void main() {
    vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
    gl_Position = vec4(2.0 * corner - 1.0, 0.9999, 1.0);
}
