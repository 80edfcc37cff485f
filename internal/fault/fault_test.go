package fault

import "testing"

func TestPointActsOnceAtTheNthPass(t *testing.T) {
	defer Deactivate()
	var hits int
	Activate("here", 3, func() { hits++ })
	for pass := 1; pass <= 5; pass++ {
		Point("elsewhere")
		Point("here")
		if want := map[bool]int{false: 0, true: 1}[pass >= 3]; hits != want {
			t.Fatalf("after pass %d the point acted %d times, want %d", pass, hits, want)
		}
	}
	Activate("here", 1, func() { hits++ })
	Deactivate()
	Point("here")
	if hits != 1 {
		t.Fatalf("a point that was switched off acted")
	}
}

func TestPointIsFreeWhenOff(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Point("off") }); n != 0 {
		t.Fatalf("a point that is off allocates %v times", n)
	}
}

func BenchmarkPointOff(b *testing.B) {
	for b.Loop() {
		Point("off")
	}
}
