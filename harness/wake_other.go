//go:build !linux

package harness

// runWakes is the canary of a run whose devices connect over sockets, or in
// memory.
func runWakes(memory bool) wakeSource {
	if memory {
		return pipeWakes
	}
	return loopbackWakes
}
