package triggers

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/reprieve-run/reprieve/crm"
)

// What any accepted expression may take on the largest contact that there can be: time of one processor, so that
// a busy machine does not count, and bytes of a process that does nothing else.
const (
	mostTime   = 50 * time.Millisecond
	mostMemory = 512 << 20
)

// childOf is how the test finds that it is the child.
const childOf = "REPRIEVE_HOSTILE_CHILD"

// Whatever is accepted ends within 50 ms and in little memory. The expressions are made to do as much work as the
// language lets them, some by hand and many at random, and they are evaluated in a process whose memory is limited:
// if one of them takes the host down, it is this one. REPRIEVE_SEED replays, REPRIEVE_EXPRESSIONS sets how many.
func TestHostileExpressionsEnd(t *testing.T) {
	t.Parallel()
	if underRace {
		t.Skip("the race detector's own memory and time would count")
	}
	if os.Getenv(childOf) != "" {
		evaluateHostile(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestHostileExpressionsEnd$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), childOf+"=1", "GOMAXPROCS=2")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "accepted") {
		t.Fatalf("the child: %v\n%s", err, out)
	}
	for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); {
		if strings.Contains(s.Text(), "accepted") {
			t.Log(strings.TrimSpace(s.Text()))
		}
	}
}

// evaluateHostile is the child's part.
func evaluateHostile(t *testing.T) {
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: mostMemory, Max: mostMemory}); err != nil {
		t.Skip("this system does not limit memory: ", err)
	}
	seed, many := uint64(1), 3000
	if s, err := strconv.ParseUint(os.Getenv("REPRIEVE_SEED"), 10, 64); err == nil {
		seed = s
	}
	if n, err := strconv.Atoi(os.Getenv("REPRIEVE_EXPRESSIONS")); err == nil {
		many = n
	}
	env := largest()
	accepted, slowest, which := 0, time.Duration(0), ""
	try := func(text string) {
		e, err := CompileExpr(everything(text), Any)
		if err != nil {
			return
		}
		accepted++
		took := time.Hour
		for range 3 { // the least of three: what came between was not the expression
			runtime.LockOSThread()
			before := spent(t)
			_, _ = e.Eval(env)
			took = min(took, spent(t)-before)
			runtime.UnlockOSThread()
			if took < mostTime/4 {
				break
			}
		}
		if took > slowest {
			slowest, which = took, text
		}
		if took > mostTime {
			t.Errorf("REPRIEVE_SEED=%d: %v for %.300s", seed, took, text)
		}
	}
	for _, text := range worst() {
		try(text)
	}
	g := hostile{rand.New(rand.NewPCG(seed, 0))}
	for range many {
		try(g.any(5))
	}
	if accepted < many/10 {
		t.Errorf("of %d expressions only %d are any", many, accepted)
	}
	t.Logf("%d accepted; the slowest took %v: %.120s", accepted, slowest, which)
}

// spent is the time that the thread has had of a processor.
func spent(t *testing.T) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// largest is the largest contact that expressions may look at, with values that are equal up to their last byte:
// what compares them has to look at all.
func largest() Env {
	long := func(end string) string { return strings.Repeat("aB", maxText/2-1) + end }
	env := annEnv()
	c := ann()
	c.Fields = append(c.Fields, crm.Field{Name: "text", Value: crm.Text(long("xy"))}, crm.Field{Name: "same", Value: crm.Text(long("xy"))},
		crm.Field{Name: "other", Value: crm.Text(long("xz"))}, crm.Field{Name: "half", Value: crm.Text(long("")[:maxText/2])})
	words := make([]string, maxList)
	for i := range words {
		words[i] = strings.Repeat("w", 200) + strconv.Itoa(i)
	}
	c.Fields = append(c.Fields, crm.Field{Name: "words", Value: crm.Value{Kind: crm.ListValue, List: words}})
	c.Tags = nil
	for i := range maxList {
		c.Tags = append(c.Tags, crm.Tag{Name: strings.Repeat("t", 100) + strconv.Itoa(i)})
	}
	env.Contact = c
	rows := make([]any, maxList)
	for i := range rows {
		rows[i] = map[string]any{"n": float64(i), "text": long("xy")}
	}
	texts := make([]any, maxList)
	for i := range texts {
		texts[i] = long("xy") + "" // distinct: an equal text in the same place is compared by its address
	}
	env.Steps = map[string]StepInfo{"get": {"done", map[string]any{"rows": rows, "texts": texts, "none": nil}}, "my-step": {"done", nil}}
	return env
}

// worst are expressions that try to do much with little text.
func worst() []string {
	times := func(n int, join, s string) string { return strings.TrimSuffix(strings.Repeat(s+join, n), join) }
	const text, same, other = "contact.fields.text", "contact.fields.same", "contact.fields.other"
	over := func(body string) []string {
		var all []string
		for _, p := range []string{"any", "all", "none", "one", "filter", "count", "find"} {
			for _, list := range []string{"contact.tags", "contact.fields.words", "steps.get.output.rows", "steps.get.output.texts"} {
				all = append(all, fmt.Sprintf("%s(%s, %s)", p, list, body))
			}
		}
		return all
	}
	var all []string
	for _, body := range []string{
		times(40, " and ", text+" == "+same), times(40, " or ", text+" == "+other), times(40, " and ", "# != "+text), times(40, " or ", "# == "+text),
		times(40, " or ", text+" < "+other), times(30, " or ", text+" in contact.fields.words"), times(30, " or ", "# in contact.fields.words"),
		times(30, " or ", text+" in steps.get.output.texts"), times(30, " or ", "# in steps.get.output.texts"), times(30, " or ", "# in contact.tags"),
		times(20, " or ", `# matches "(a|b|w)*(t|w|x)+c"`), times(20, " or ", text+` matches "(aB)*z"`), times(20, " or ", text+` contains "Bax"`),
		times(20, " or ", "upper("+text+") == #"), times(20, " or ", "len("+text+") == 1"), times(20, " or ", "hasPrefix("+text+", "+same+")"),
		times(20, " or ", "hasSuffix("+text+", "+other+")"), times(20, " or ", text+" startsWith "+same), times(20, " or ", text+" endsWith "+other),
		`string(#) == "x"`, times(20, " or ", "string("+text+`) == ""`), times(20, " or ", `trim(#) == ""`), times(20, " or ", "#.text == "+text),
		times(20, " or ", "#.text contains "+same), times(60, " or ", "# == "+text), "[" + times(60, ", ", text) + `] == ""`, "(" + text + ` + "") == ` + same,
		times(20, " or ", `date("2026-01-01") > now`), times(20, " or ", `duration("1d") > duration("2d")`), times(20, " or ", `format_date(now, "YYYY-MM-DD HH:mm:ss") == #`),
		times(20, " or ", "int(#) == 1"), times(20, " or ", `float("`+strings.Repeat("9", 100)+`") == 1`), times(20, " or ", text+` == "`+strings.Repeat("aB", 40)+`"`),
	} {
		all = append(all, over(body)...)
		all = append(all, strings.ReplaceAll(body, "#", text))
	}
	return append(all,
		times(40, " and ", text+" == "+same), times(60, " + ", "contact.fields.half"), times(199, "", "!")+"true", times(60, " + ", `"x"`),
		"{"+times(30, ", ", "a: "+text)+"}", "["+times(90, ", ", text)+"]", times(30, " ?? ", "contact.fields.none"), times(20, " ? 1 : ", "contact.archived")+" ? 1 : 2",
		text+`[0:60000] == ""`, text+"[1:]", `contact.tags[1:] == []`, `len(contact.tags[0:900]) == 1`, `count(filter(contact.tags, true), true) == 1`)
}

// hostile writes expressions at random out of what is costly.
type hostile struct{ *rand.Rand }

func (g hostile) of(all ...string) string { return all[g.IntN(len(all))] }

func (g hostile) text(deep int) string {
	if deep <= 0 || g.IntN(3) == 0 {
		return g.of("contact.fields.text", "contact.fields.same", "contact.fields.other", "contact.fields.half", "contact.email", `"aB"`, "#", "event.tag", "steps.get.output.none", "#.text")
	}
	return fmt.Sprintf(g.of("lower(%s)", "upper(%s)", "trim(%s)", "string(%s)", "(%s + \"\")", "(%[1]s + %[1]s)", "(%s ?? \"\")", "%s[1:]", "%[1]s", "contact.fields[%s]"), g.text(deep-1))
}

func (g hostile) list(deep int) string {
	if deep <= 0 || g.IntN(2) == 0 {
		return g.of("contact.tags", "contact.fields.words", "steps.get.output.rows", "steps.get.output.texts")
	}
	return fmt.Sprintf(g.of("filter(%[1]s, %[2]s)", "%[1]s[1:]", "[%[3]s, %[3]s]"), g.list(deep-1), g.cond(deep-1), g.text(deep-1))
}

func (g hostile) cond(deep int) string {
	if deep <= 0 {
		return fmt.Sprintf("%s == %s", g.text(0), g.text(0))
	}
	a, b := g.text(deep-1), g.text(deep-1)
	switch g.IntN(8) {
	case 0:
		return fmt.Sprintf("(%s and %s)", g.cond(deep-1), g.cond(deep-1))
	case 1:
		return fmt.Sprintf("(%s or %s)", g.cond(deep-1), g.cond(deep-1))
	case 2:
		return fmt.Sprintf("not (%s)", g.cond(deep-1))
	case 3:
		return fmt.Sprintf("%s in %s", a, g.list(deep-1))
	case 4:
		return fmt.Sprintf(`%s matches "%s"`, a, g.of("(a|B)*c", "^(aB)+$", "[a-z]+z", "(a?){20}x", ".*w.*1$"))
	case 5:
		return fmt.Sprintf("%s(%s, %s)", g.of("any", "all", "none", "one"), g.list(deep-1), g.cond(deep-1))
	case 6:
		return fmt.Sprintf("%s(%s, %s)", g.of("hasPrefix", "hasSuffix"), a, b)
	}
	return fmt.Sprintf("%s %s %s", a, g.of("==", "!=", "<", ">=", "contains", "startsWith", "endsWith"), b)
}

func (g hostile) any(deep int) string {
	switch g.IntN(4) {
	case 0:
		return g.text(deep)
	case 1:
		return g.list(deep)
	case 2:
		return fmt.Sprintf("count(%s, %s) > 3", g.list(1), g.cond(deep))
	}
	return g.cond(deep)
}
