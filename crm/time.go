package crm

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Nanos is an instant in UTC, in nanoseconds since 1970. Stored rows use it instead of time.Time
// because every encoding of a time.Time that we tried lost part of it, and a deadline that loses
// its fraction is an early purge.
type Nanos int64

// Window lengths: a day is 24 hours everywhere, whatever the clocks on the wall do.
const (
	Second Nanos = 1e9
	Minute       = 60 * Second
	Hour         = 60 * Minute
	Day          = 24 * Hour
)

// At turns a time into an instant.
func At(t time.Time) Nanos { return Nanos(t.UnixNano()) }

// Time gives the instant as a time in UTC.
func (n Nanos) Time() time.Time { return time.Unix(0, int64(n)).UTC() }

// String shows the instant as RFC 3339 in UTC with its fraction.
func (n Nanos) String() string {
	if n == 0 {
		return ""
	}
	return n.Time().Format(time.RFC3339Nano)
}

// Days shows a length as days, or as Go does when it is not a whole number of them.
func (n Nanos) Days() string {
	if n%Day == 0 && n != 0 {
		return strconv.FormatInt(int64(n/Day), 10) + "d"
	}
	return time.Duration(n).String()
}

// MarshalText shows the instant in JSON as String does.
func (n Nanos) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads RFC 3339; empty text is the zero instant.
func (n *Nanos) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*n = 0
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return err
	}
	*n = At(t)
	return nil
}

var durationPart = regexp.MustCompile(`^(\d+)(ms|w|d|h|m|s)`)

// ParseDuration reads 14d, 2w, 36h, 1d12h, 90s. A day is 24 hours. Signs, fractions and units
// without a number are errors, and so is what does not fit.
func ParseDuration(s string) (Nanos, error) {
	unit := map[string]Nanos{"w": 7 * Day, "d": Day, "h": Hour, "m": Minute, "s": Second, "ms": Second / 1000}
	var total Nanos
	rest := s
	for rest != "" {
		m := durationPart.FindStringSubmatch(rest)
		if m == nil {
			return 0, fmt.Errorf("%q is not a duration: write 14d, 36h or 1d12h", s)
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil || n > int64((1<<62)/unit[m[2]]) || total > 1<<62-Nanos(n)*unit[m[2]] {
			return 0, fmt.Errorf("%q is longer than a duration can be", s)
		}
		total += Nanos(n) * unit[m[2]]
		rest = rest[len(m[0]):]
	}
	if s == "" {
		return 0, fmt.Errorf("a duration is missing: write 14d, 36h or 1d12h")
	}
	return total, nil
}
