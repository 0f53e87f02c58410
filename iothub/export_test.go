package iothub

// Valid is what the client takes for JSON.
var Valid = valid
