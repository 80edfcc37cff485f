//go:build race

package triggers

// underRace says that the race detector is on, which needs far more memory than the program itself.
const underRace = true
