#version 330
// Camera space to the first lamp's parallel view of the hands.
uniform mat3 lamp_axes;
uniform vec3 shadow_centre;
uniform float shadow_radius;

in vec3 position;

void main() { gl_Position = vec4(lamp_axes * (position - shadow_centre) / shadow_radius, 1.0); }
