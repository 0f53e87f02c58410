//go:build !linux

package hub

// measureProcess returns zeros: only Linux is measured.
func measureProcess() processStats { return processStats{} }
