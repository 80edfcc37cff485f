package server

import (
	"io"
	"testing"

	"github.com/reprieve-run/reprieve/crm"
)

// zeros is a long file without any content.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// A transaction of an import holds so many bytes of the file at most, however few rows they are: it
// must neither fill the memory nor keep the writer from others.
func TestImportIsWeighed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.account()
	c := &call{ctx: t.Context(), App: r.app, by: crm.Actor{ID: "user:1", Role: crm.Admin}, in: zeros{}}
	rows := map[*intake]int{}
	read := func(in io.Reader, _ func([]string), yield func(int) error, _ func(Reject)) error {
		for i := range 20 {
			if _, err := io.CopyN(io.Discard, in, 400<<10); err != nil {
				return err
			}
			if err := yield(i); err != nil {
				return err
			}
		}
		return nil
	}
	done, err := importRows(c, ImportOptions{}, read, func(*int) (int, []string) { return 1, nil }, func(in *intake, _ *int) error {
		rows[in]++
		return nil
	})
	if err != nil || done.Created != 20 {
		t.Fatalf("%+v, %v", done, err)
	}
	for _, n := range rows {
		if n > 3 {
			t.Errorf("a transaction has %d rows of 400 KiB", n)
		}
	}
}
