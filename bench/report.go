package bench

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"time"
)

// Goal is what a median ratio is held against in the report; the zero Goal is none. Nothing fails
// for missing it: a miss is published with its reason.
type Goal struct {
	AtLeast float64 // of the floor's rate
	AtMost  float64 // times the floor's cost
}

// Row is one contestant beside one floor.
type Row struct {
	Contest, Floor string
	Unit           string // what a second is full of
	Goal           Goal
	Cost           bool      // the ratio is of time for the same work; else of rates
	Ratios         []float64 // one a round, of time on the wall
	CPU            []float64 // one a round, of processor time
	ours, floor    []time.Duration
	work           []float64 // microseconds of processor time for one of the contestant's items
}

// Median gives the median of the rounds' ratios.
func (r *Row) Median() float64 { return median(r.Ratios) }

// Report is what a run found.
type Report struct {
	Rows  []*Row
	notes map[string][]float64
	order []string
	fsync []float64 // milliseconds, one a round
}

// add notes one round of a contestant and its floor, each as what one item took.
func (r *Report) add(like Row, ours, floor spent) {
	i := slices.IndexFunc(r.Rows, func(x *Row) bool { return x.Contest == like.Contest && x.Floor == like.Floor })
	if i < 0 {
		i = len(r.Rows)
		r.Rows = append(r.Rows, &like)
	}
	row := r.Rows[i]
	row.Ratios = append(row.Ratios, row.ratio(ours.wall, floor.wall))
	row.CPU = append(row.CPU, row.ratio(ours.cpu, floor.cpu))
	row.ours, row.floor = append(row.ours, ours.wall), append(row.floor, floor.wall)
	row.work = append(row.work, float64(ours.cpu)/float64(time.Microsecond))
}

func (r *Row) ratio(ours, floor time.Duration) float64 {
	times := float64(max(ours, 1)) / float64(max(floor, 1))
	if r.Cost {
		return times
	}
	return 1 / times // of rates
}

// note keeps a figure beside the table, of which the median is shown.
func (r *Report) note(what string, v float64) {
	if r.notes == nil {
		r.notes = map[string][]float64{}
	}
	if r.notes[what] == nil {
		r.order = append(r.order, what)
	}
	r.notes[what] = append(r.notes[what], v)
}

// Write prints the table in Markdown. Rates are the medians of the rounds and good for orientation
// only; the ratio is the median of the rounds' own ratios.
func (r *Report) Write(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintln(&b, "| contestant | floor | contestant /s | floor /s | median ratio | min–max | rounds | goal | of processor time | µs |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|---|---|")
	for _, row := range r.Rows {
		times := ""
		if row.Cost {
			times = " ×"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s%s | %s–%s | %d | %s | %s%s | %s |\n", row.Contest, row.Floor, rate(row.ours), rate(row.floor),
			ratio(row.Median()), times, ratio(slices.Min(row.Ratios)), ratio(slices.Max(row.Ratios)), len(row.Ratios), row.verdict(),
			ratio(median(row.CPU)), times, figure(median(row.work)))
	}
	fmt.Fprintln(&b, "\n“×” is the contestant's time as a multiple of the floor's; without it, the contestant's rate as a part of the floor's.")
	fmt.Fprintln(&b, "The last two columns are the same ratio of processor time, and the contestant's processor time for one item.")
	for _, what := range r.order {
		fmt.Fprintf(&b, "- %s: %s\n", what, figure(median(r.notes[what])))
	}
	fmt.Fprint(&b, "\n", r.machine())
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Row) verdict() string {
	m, text, met := r.Median(), "", true
	switch {
	case r.Goal.AtLeast > 0:
		text, met = fmt.Sprintf("≥ %g", r.Goal.AtLeast), m >= r.Goal.AtLeast
	case r.Goal.AtMost > 0:
		text, met = fmt.Sprintf("≤ %g ×", r.Goal.AtMost), m <= r.Goal.AtMost
	default:
		return ""
	}
	if met {
		return text + ": met"
	}
	return text + ": **missed**"
}

func rate(ds []time.Duration) string {
	var rates []float64
	for _, d := range ds {
		rates = append(rates, float64(time.Second)/float64(max(d, 1)))
	}
	return figure(median(rates))
}

// figure shows three digits: no more of them mean anything here.
func figure(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

// ratio shows two digits behind the point, and more where they are all that there is.
func ratio(f float64) string {
	if f < 0.1 {
		return fmt.Sprintf("%.4f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// machine says what this ran on, as far as it can be known without asking anybody.
func (r *Report) machine() string {
	cpu := "unknown"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.TrimSpace(strings.TrimLeft(name, " \t:"))
				break
			}
		}
	}
	load := "unknown"
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	return fmt.Sprintf("%d processors (%s), %s/%s, %s, load at the end %s; write and fsync of 4 KiB: median %.2f ms, %.2f–%.2f over the rounds.\n",
		goruntime.NumCPU(), cpu, goruntime.GOOS, goruntime.GOARCH, goruntime.Version(), load, median(r.fsync), slices.Min(r.fsync), slices.Max(r.fsync))
}

// probe times the disk once a round: the median of some small durable writes.
func (r *run) probe() error {
	f, err := os.Create(filepath.Join(r.dir, "probe"))
	if err != nil {
		return err
	}
	defer f.Close()
	page := make([]byte, 4096)
	var took []float64
	for range 21 {
		d, err := timed(func() error {
			if _, err := f.WriteAt(page, 0); err != nil {
				return err
			}
			return f.Sync()
		})
		if err != nil {
			return err
		}
		took = append(took, float64(d.wall)/float64(time.Millisecond))
	}
	r.report.fsync = append(r.report.fsync, median(took))
	return nil
}
