//go:build !race

package triggers

const underRace = false
