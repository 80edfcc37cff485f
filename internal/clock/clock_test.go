package clock

import (
	"testing"
	"time"
)

func TestVirtualWaits(t *testing.T) {
	start := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	v := NewVirtual(start)
	late, now := v.After(time.Hour), v.After(0)
	select {
	case <-now:
	default:
		t.Fatal("a wait of nothing did not end")
	}
	v.Advance(time.Hour - 1)
	select {
	case <-late:
		t.Fatal("a wait ended a nanosecond early")
	default:
	}
	v.Advance(1)
	if got := <-late; !got.Equal(start.Add(time.Hour)) {
		t.Fatalf("the wait ended at %s", got)
	}
}
