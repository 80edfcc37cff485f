package crm

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestIDs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := Nanos(rapid.Int64Range(0, 1<<62).Draw(t, "at"))
		random := rapid.SliceOfN(rapid.Byte(), 10, 10)
		a, err := NewID[ContactKind](at, bytes.NewReader(random.Draw(t, "a")))
		b, err2 := NewID[ContactKind](at+1e6, bytes.NewReader(random.Draw(t, "b")))
		if err != nil || err2 != nil || bytes.Compare(a[:], b[:]) >= 0 || a.String() >= b.String() {
			t.Fatalf("%s is not before %s", a, b)
		}
		if a[6]>>4 != 7 || a[8]>>6 != 2 {
			t.Fatalf("%x is no UUIDv7", a[:])
		}
		back, err := ParseID[ContactKind](" " + strings.Replace(a.String(), a.String()[4:], strings.ToUpper(a.String()[4:]), 1))
		if err != nil || back != a {
			t.Fatalf("%s came back as %s: %v", a, back, err)
		}
		j, err := json.Marshal(a)
		var c ContactID
		if err != nil || json.Unmarshal(j, &c) != nil || c != a {
			t.Fatalf("%s came back from %s as %s", a, j, c)
		}
	})
	if _, err := NewID[ContactKind](1, strings.NewReader("short")); err == nil {
		t.Error("an id without randomness")
	}
}

func TestWrongIDsAreRefused(t *testing.T) {
	t.Parallel()
	good := ContactID{1}.String()
	for _, s := range []string{"", "con", "con_", good[:len(good)-1], good + "0", good + "00000000", "con_" + strings.Repeat("u", 26),
		good[:len(good)-1] + "1", good[:len(good)-1] + "2", good[:8] + "\n" + good[8:], good[:8] + "\r" + good[8:],
		RunID{1}.String(), AccountID{1}.String(), ItemID{1}.String(), OperationID{1}.String(), "somebody@example.com"} {
		_, err := ParseID[ContactKind](s)
		if CodeOf(err) != CodeInvalid || err.(*Error).Hint == "" || strings.Contains(err.Error(), "example.com") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{ContactID{1}.String(), "con_", "run_00000000000000000000000000", "con_zzzzzzzzzzzzzzzzzzzzzzzzzz", "con_00000000000000000000000001", "_"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseID[ContactKind](s); err == nil {
			if back, err := ParseID[ContactKind](id.String()); err != nil || back != id {
				t.Errorf("%q: %v, %v", s, back, err)
			}
			if _, text, _ := strings.Cut(strings.TrimSpace(s), "_"); strings.ToLower(text) != id.String()[4:] {
				t.Errorf("%q is read as %s", s, id)
			}
		}
	})
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Nanos{
		"14d": 14 * 24 * 3600e9, "2w": 14 * Day, "36h": 36 * Hour, "1d12h": 36 * Hour, "90s": 90 * Second, "1m500ms": Minute + Second/2,
		"0d": 0, "1500ms": 1500e6, "100000d": 53375 * Day, "": -1, "d": -1, "-1d": -1, "+1d": -1, "1.5d": -1, "1": -1, "1 d": -1,
		"1D": -1, "1y": -1, "1d ": -1, "d1": -1, "99999999999999999999d": -1, "53375d9999999h": -1, "1dd": -1, "١d": -1,
	} {
		if s == "100000d" {
			want = -1 // longer than 1<<62 nanoseconds
		}
		got, err := ParseDuration(s)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"14d", "1d12h", "53375d", "9223372036854775807ms", "1ms1m", "w", "1d1d1d", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseDuration(s)
		if err == nil && (got < 0 || got > 1<<62 || strings.Trim(s, "0123456789wdhms") != "") {
			t.Errorf("%q is %d", s, got)
		}
		if twice, err2 := ParseDuration(s + s); err == nil && err2 == nil && twice != 2*got {
			t.Errorf("%q twice is %d, not %d", s, twice, 2*got)
		}
	})
}

func TestInstantsKeepTheirFraction(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := Nanos(rapid.Int64Range(1, 1<<62).Draw(t, "n"))
		var back Nanos
		if err := back.UnmarshalText([]byte(n.String())); err != nil || back != n || At(n.Time()) != n {
			t.Fatalf("%d came back as %d: %v", n, back, err)
		}
	})
}
