package codec_test

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/reprieve-run/reprieve/crm"
	"github.com/reprieve-run/reprieve/store/internal/codec"
	"github.com/reprieve-run/reprieve/store/storetest"
)

// TestEveryRowRoundTrips: what is decoded is what was encoded, for random rows of every table and
// for the zero row, and encoding again gives the same bytes.
func TestEveryRowRoundTrips(t *testing.T) {
	for _, s := range storetest.Subjects() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			roundTrip(t, s, s.New())
			rapid.Check(t, func(rt *rapid.T) { roundTrip(rt, s, s.Draw(rt)) })
		})
	}
}

func roundTrip(t rapid.TB, s storetest.Subject, want any) {
	b, err := codec.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	again, got := bytes.Clone(b), s.New()
	if err := codec.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] ^= 0xff // the row must keep nothing of the buffer
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
	if b, err = codec.Marshal(got); err != nil || !bytes.Equal(b, again) {
		t.Fatalf("encoding again gives other bytes (%v)", err)
	}
}

func TestExactValues(t *testing.T) {
	for _, l := range []crm.Life{
		{RestorableUntil: 1_700_000_000_999_999_999}, {RestorableUntil: math.MaxInt64}, {RestorableUntil: math.MinInt64},
		{Since: -1}, {Epoch: math.MaxUint64, QuietRev: 1 << 63}, {State: crm.Purged, Held: true},
	} {
		var got crm.Life
		if b, err := codec.Marshal(l); err != nil || codec.Unmarshal(b, &got) != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("got %+v, want %+v (%v)", got, l, err)
		}
	}
	for _, v := range []crm.Value{
		crm.Number(0.1), crm.Number(math.MaxFloat64), crm.Number(math.SmallestNonzeroFloat64), crm.Number(1 << 53), crm.Number(math.Inf(-1)),
		crm.Text("a\xff\x00z"), {Kind: crm.ListValue, List: []string{"", "x"}}, {Kind: crm.InstantValue, At: 1},
	} {
		var got crm.Value
		if b, err := codec.Marshal(v); err != nil || codec.Unmarshal(b, &got) != nil || !got.Equal(v) {
			t.Errorf("got %+v, want %+v (%v)", got, v, err)
		}
	}
	var nan crm.Value
	if b, err := codec.Marshal(crm.Number(math.NaN())); err != nil || codec.Unmarshal(b, &nan) != nil || !math.IsNaN(nan.Number) {
		t.Errorf("NaN came back as %v (%v)", nan.Number, err)
	}
}

func TestMapsAreSorted(t *testing.T) {
	p := crm.DefaultPolicy()
	first, _ := codec.Marshal(p)
	for range 50 {
		if b, _ := codec.Marshal(p); !bytes.Equal(b, first) {
			t.Fatal("the same policy has two encodings")
		}
	}
}

func TestRowsShareNoBuffer(t *testing.T) {
	var rows [][]byte
	for i := range 100 {
		b, err := codec.Marshal(crm.Life{Epoch: uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, b)
	}
	for i, b := range rows {
		var l crm.Life
		if err := codec.Unmarshal(b, &l); err != nil || l.Epoch != uint64(i) {
			t.Fatalf("row %d came back as %+v (%v)", i, l, err)
		}
	}
}

func TestDamageIsFound(t *testing.T) {
	good, err := codec.Marshal(crm.Life{Epoch: 3, RestorableUntil: 1 << 50, Operation: crm.OperationID{1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(good) * 8 {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		var l crm.Life
		if code := crm.CodeOf(codec.Unmarshal(b, &l)); code != crm.CodeCorrupt && (i >= 8 || code != crm.CodeNewer) {
			t.Errorf("bit %d flipped: code %q", i, code)
		}
	}
	for n := range len(good) {
		if code := crm.CodeOf(codec.Unmarshal(good[:n], new(crm.Life))); code != crm.CodeCorrupt {
			t.Errorf("cut to %d bytes: code %q", n, code)
		}
	}
}

func TestRefusals(t *testing.T) {
	type later struct {
		Account crm.AccountID `cbor:"1,keyasint"`
		Fresh   string        `cbor:"99,keyasint"`
	}
	unknown, err := codec.Marshal(later{Fresh: "secret@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Clone(unknown)
	newer[0] = codec.Format + 1
	wrap := func(body string) []byte { b, _ := codec.Wrap([]byte(body)); return b }
	for name, c := range map[string]struct {
		b    []byte
		code string
	}{
		"an unknown member":     {unknown, crm.CodeCorrupt},
		"a newer format":        {newer, crm.CodeNewer},
		"nothing":               {nil, crm.CodeCorrupt},
		"an empty body":         {wrap(""), crm.CodeCorrupt},
		"two bodies":            {wrap("\xa0\xa0"), crm.CodeCorrupt},
		"a member given twice":  {wrap("\xa2\x04\x01\x04\x02"), crm.CodeCorrupt},
		"an open-ended map":     {wrap("\xbf\x04\x01\xff"), crm.CodeCorrupt},
		"a tag":                 {wrap("\xa1\x04\xc1\x01"), crm.CodeCorrupt},
		"a huge array, claimed": {wrap("\xa1\x04\x9a\x7f\xff\xff\xff"), crm.CodeCorrupt},
		"deep nesting":          {wrap("\xa1\x04" + strings.Repeat("\x81", 100) + "\x00"), crm.CodeCorrupt},
		"an instant with parts": {wrap("\xa1\x06\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00"), crm.CodeCorrupt},
	} {
		err := codec.Unmarshal(c.b, new(crm.Life))
		if crm.CodeOf(err) != c.code {
			t.Errorf("%s: %v has the code %q, want %q", name, err, crm.CodeOf(err), c.code)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error repeats what it read", name)
		}
	}
	for name, v := range map[string]any{"too large": make([]byte, codec.MaxBody+1), "a function": func() {}} {
		if _, err := codec.Marshal(v); crm.CodeOf(err) != crm.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := codec.Wrap(make([]byte, codec.MaxBody+1)); crm.CodeOf(err) != crm.CodeInvalid {
		t.Errorf("a log row that is too large: %v", err)
	}
}

// TestTheLargestCanBeRead: the limits of encoder and decoder meet, so what may be written can be read.
func TestTheLargestCanBeRead(t *testing.T) {
	many := make([]bool, codec.MaxBody-8)
	b, err := codec.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	var got []bool
	if err := codec.Unmarshal(b, &got); err != nil || len(got) != len(many) {
		t.Fatalf("%d of %d came back: %v", len(got), len(many), err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, s := range storetest.Subjects() {
		b, _ := codec.Marshal(s.New())
		f.Add(b[5:])
	}
	f.Add([]byte("\x9a\x7f\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, s := range storetest.Subjects() {
			_ = codec.Unmarshal(body, s.New()) // with a wrong envelope: must not panic
			b, err := codec.Wrap(body)
			if err != nil {
				return
			}
			r := s.New()
			if codec.Unmarshal(b, r) != nil {
				continue
			}
			again, err := codec.Marshal(r)
			if err != nil {
				t.Fatalf("%s: what was read cannot be written: %v", s.Name, err)
			}
			if same := s.New(); codec.Unmarshal(again, same) != nil {
				t.Fatalf("%s: what was written again cannot be read", s.Name)
			}
		}
	})
}

func BenchmarkContact(b *testing.B) {
	c := crm.Contact{Rev: 7, CreatedAt: 1 << 60, Email: crm.Identity{Value: "someone@example.org", Rev: 1}}
	for _, name := range []string{"first_name", "last_name", "company", "source"} {
		c.Fields = append(c.Fields, crm.Field{Name: name, Value: crm.Text("some text in a field"), Rev: 1})
		c.Tags = append(c.Tags, crm.Tag{Name: name, Rev: 2})
	}
	row, _ := codec.Marshal(&c)
	b.Run("marshal", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(row)))
		for b.Loop() {
			_, _ = codec.Marshal(&c)
		}
	})
	b.Run("unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = codec.Unmarshal(row, new(crm.Contact))
		}
	})
}
