package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	actionv1 "github.com/reprieve-run/reprieve/plugins/proto/action/v1"
)

func forever() { select {} }

// waits keeps the process without Go finding out that nothing will ever happen.
func waits() {
	for {
		time.Sleep(time.Hour)
	}
}

// handshake says a line as a plugin would, and no more.
func handshake(network, addr string, version int) func() {
	return func() {
		fmt.Printf("1|%d|%s|%s|grpc\n", version, network, strings.ReplaceAll(addr, "DIR", socketDir))
		waits()
	}
}

// atStart is what an animal does before it speaks. One that comes back from it serves.
var atStart = map[string]func(){
	"hang at start":     waits,
	"crash at start":    func() { panic("it crashes") },
	"exit 0 at once":    func() { os.Exit(0) },
	"garbage":           func() { fmt.Print("hello\x00\xff\x1b[2Jworld\n1|1|\n"); waits() },
	"half a handshake":  func() { fmt.Printf("1|1|unix|%s", socketDir); waits() },
	"a tcp address":     func() { _, _ = net.Listen("tcp", "127.0.0.1:0"); handshake("tcp", "127.0.0.1:22", 1)() },
	"a path outside":    func() { _, _ = net.Listen("unix", "/tmp/zoo.sock"); handshake("unix", "/tmp/zoo.sock", 1)() },
	"a path with dots":  func() { _, _ = net.Listen("unix", socketDir+"/s"); handshake("unix", "DIR/../x/s", 1)() },
	"a wrong version":   func() { _, _ = net.Listen("unix", socketDir+"/s"); handshake("unix", "DIR/s", 9)() },
	"deaf":              func() { _, _ = net.Listen("unix", socketDir+"/s"); handshake("unix", "DIR/s", 1)() },
	"an abstract one":   func() { _, _ = net.Listen("unix", "@zoo-"+marker); handshake("unix", "@zoo-"+marker, 1)() },
	"a linked socket":   func() { _ = os.Symlink(others(), socketDir+"/s"); handshake("unix", "DIR/s", 1)() },
	"another's socket":  func() { handshake("unix", others(), 1)() },
	"a line at start":   func() { _, _ = os.Stdout.Write(bytes.Repeat([]byte("x"), 10<<20)); waits() },
	"ignores signals":   func() { signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP) },
	"children at start": func() { spawn(":waits"); waits() },
	"removes its dir":   func() { time.AfterFunc(300*time.Millisecond, func() { _ = os.RemoveAll(socketDir) }) },
}

// others gives the socket of another plugin of the same host.
func others() string {
	found, _ := filepath.Glob(filepath.Join(filepath.Dir(socketDir), "*", "*"))
	for _, path := range found {
		if filepath.Dir(path) != socketDir {
			return path
		}
	}
	return filepath.Join(filepath.Dir(socketDir), "other", "s")
}

var atStop = map[string]func(){
	"hang at stop":    forever,
	"ignores signals": forever,
	"crash at stop":   func() { os.Exit(9) },
	"log at stop":     func() { logs(16 << 20); forever() },
}

var atDescribe = map[string]func(*actionv1.DescribeResponse){
	"mute": func(*actionv1.DescribeResponse) { forever() },
	"wants more": func(d *actionv1.DescribeResponse) {
		d.Actions[0].Effects = append(d.Actions[0].Effects, "contact.purge")
	},
	"wants other facts": func(d *actionv1.DescribeResponse) { d.Actions[0].Reads = []string{"email"} },
	"is somebody else":  func(d *actionv1.DescribeResponse) { d.Name = "good" },
	"other action":      func(d *actionv1.DescribeResponse) { d.Actions[0].Action = "good.run" },
	"a name with dots":  func(d *actionv1.DescribeResponse) { d.Name = "../../etc" },
	"an action outside": func(d *actionv1.DescribeResponse) { d.Actions[0].Action = "zoo./../../x" },
	"ten thousand": func(d *actionv1.DescribeResponse) {
		for i := range 10_000 {
			d.Actions = append(d.Actions, &actionv1.ActionSpec{Action: fmt.Sprintf("zoo.a%d", i)})
		}
	},
	"hang in a call": func(d *actionv1.DescribeResponse) { short(d) },
	"burns":          func(d *actionv1.DescribeResponse) { short(d) },
	"stops itself":   func(d *actionv1.DescribeResponse) { short(d) },
	"storm and hang": func(d *actionv1.DescribeResponse) { short(d) },
}

// short makes the host's patience in a call one second.
func short(d *actionv1.DescribeResponse) { d.Actions[0].TimeoutNanos = int64(time.Second) }

var inCall = map[string]func(*plugin, *actionv1.ExecuteResponse){
	"hang in a call":  func(*plugin, *actionv1.ExecuteResponse) { forever() },
	"crash in a call": func(*plugin, *actionv1.ExecuteResponse) { panic("it crashes") },
	"half a reply": func(p *plugin, r *actionv1.ExecuteResponse) {
		p.listener.left = 30_000
		r.Outcomes[0].GetDone().OutputJson = fill(60 << 10)
	},
	"crash after reply": func(p *plugin, _ *actionv1.ExecuteResponse) {
		if p.calls == 1 {
			time.AfterFunc(50*time.Millisecond, func() { os.Exit(9) })
		}
	},
	"holds the pipes": func(*plugin, *actionv1.ExecuteResponse) { spawn(":waits") },
	"daemon":          func(*plugin, *actionv1.ExecuteResponse) { spawn(":daemon"); time.Sleep(200 * time.Millisecond) },
	"runaway":         func(*plugin, *actionv1.ExecuteResponse) { spawn(":runaway"); time.Sleep(200 * time.Millisecond) },
	"leaves its group": func(*plugin, *actionv1.ExecuteResponse) {
		if child := spawn(":group"); child > 0 {
			time.Sleep(200 * time.Millisecond)
			_ = syscall.Setpgid(0, child)
		}
	},
	"fork storm":     func(*plugin, *actionv1.ExecuteResponse) { storm(300) },
	"storm and hang": func(*plugin, *actionv1.ExecuteResponse) { storm(300); forever() },
	"eats memory": func(*plugin, *actionv1.ExecuteResponse) {
		var eaten [][]byte
		for range 4 << 10 {
			eaten = append(eaten, bytes.Repeat([]byte("x"), 1<<20))
		}
		panic(fmt.Sprint("it ate ", len(eaten), " MiB"))
	},
	"burns": func(*plugin, *actionv1.ExecuteResponse) {
		for range 8 {
			go func() {
				for {
				}
			}()
		}
		forever()
	},
	"a gigabyte of log": func(*plugin, *actionv1.ExecuteResponse) { logs(1 << 30) },
	"a line of 10 MB": func(*plugin, *actionv1.ExecuteResponse) {
		_, _ = os.Stderr.Write(bytes.Repeat([]byte("x"), 10<<20))
		_, _ = os.Stdout.Write(bytes.Repeat([]byte("y"), 10<<20))
	},
	"@message": func(*plugin, *actionv1.ExecuteResponse) {
		fmt.Fprintln(os.Stderr, `{"@message": 5}`+"\n"+`{"@level": {}, "@message": [], "@timestamp": 7}`+"\n"+`{"level":"fatal","time":{},"message":null}`)
	},
	"dirty log": func(*plugin, *actionv1.ExecuteResponse) {
		fmt.Fprint(os.Stderr, "\xff\xfe\x00 \x1b[2J\x1b]0;owned\x07\r\nnext\x85line\u202edrow\n")
		fmt.Fprint(os.Stderr, "{\"level\":\"error\",\"message\":\"\\u001b[2J forged\"}\n")
	},
	"a huge reply":   func(_ *plugin, r *actionv1.ExecuteResponse) { r.Outcomes[0].GetDone().OutputJson = fill(8 << 20) },
	"answers twice":  func(_ *plugin, r *actionv1.ExecuteResponse) { r.Outcomes = append(r.Outcomes, r.Outcomes[0]) },
	"leaves out":     func(_ *plugin, r *actionv1.ExecuteResponse) { r.Outcomes = r.Outcomes[1:] },
	"answers others": func(_ *plugin, r *actionv1.ExecuteResponse) { r.Outcomes[0].IdempotencyKey = "../another's" },
	"undeclared": func(_ *plugin, r *actionv1.ExecuteResponse) {
		effect(r, &actionv1.Effect{Kind: &actionv1.Effect_PurgeContact{PurgeContact: &actionv1.PurgeContact{}}})
	},
	"a target outside": func(_ *plugin, r *actionv1.ExecuteResponse) {
		effect(r, &actionv1.Effect{Kind: &actionv1.Effect_AddTag{AddTag: &actionv1.AddTag{Target: 1 << 31, Tag: "x"}}})
	},
	"no json":      func(_ *plugin, r *actionv1.ExecuteResponse) { r.Outcomes[0].GetDone().OutputJson = []byte("{") },
	"no result":    func(_ *plugin, r *actionv1.ExecuteResponse) { r.Outcomes[0].Result = nil },
	"closes up":    func(p *plugin, _ *actionv1.ExecuteResponse) { _ = p.listener.Close(); closeAll(); forever() },
	"stops itself": func(*plugin, *actionv1.ExecuteResponse) { spawn(":stopper"); forever() },
	"opens files": func(*plugin, *actionv1.ExecuteResponse) {
		var open []*os.File
		for range 1 << 17 {
			f, err := os.Open("/dev/null")
			if err != nil {
				break
			}
			open = append(open, f)
		}
		forget = open
	},
	"kills its host": func(*plugin, *actionv1.ExecuteResponse) {
		for _, pid := range []int{os.Getppid(), parent()} {
			if pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	},
}

var forget []*os.File

func effect(r *actionv1.ExecuteResponse, e *actionv1.Effect) {
	r.Outcomes[0].GetDone().Effects = []*actionv1.Effect{e}
}

// logs writes so many bytes in lines.
func logs(n int) {
	line := append(bytes.Repeat([]byte("log "), 255), "end\n"...)
	block := bytes.Repeat(line, 64)
	for ; n > 0; n -= len(block) {
		_, _ = os.Stderr.Write(block)
	}
}

// closeAll closes every descriptor but the standard ones behind Go's back.
func closeAll() {
	for fd := 3; fd < 64; fd++ {
		_ = syscall.Shutdown(fd, syscall.SHUT_RDWR)
	}
}

// parent gives the number by which the machine knows this process's parent.
func parent() int {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "PPid:"); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(n))
			return pid
		}
	}
	return 0
}

// storm forks so many processes that fork too: each child makes one more, if it can.
func storm(n int) {
	for range n / 2 {
		pid, _, errno := syscall.RawSyscall(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0)
		if errno != 0 {
			return
		}
		if pid == 0 { // a copy of one thread: nothing of Go's works in it
			syscall.RawSyscall(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0)
			for {
				syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
	}
}

// spawn starts another role of this binary, which holds the plugin's pipes.
func spawn(role string) int {
	p, err := os.StartProcess("/proc/self/exe", []string{"zoo", marker, role}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "spawn:", err)
		return 0
	}
	return p.Pid
}

// descendants are what an animal leaves behind.
var descendants = map[string]func(){
	":waits": waits,
	":group": func() { _ = syscall.Setpgid(0, 0); waits() },
	":daemon": func() {
		_, _ = syscall.Setsid()
		spawn(":orphan")
	},
	":orphan": func() { _, _ = syscall.Setsid(); waits() },
	":stopper": func() {
		for {
			_ = syscall.Kill(os.Getppid(), syscall.SIGSTOP)
			time.Sleep(10 * time.Millisecond)
		}
	},
	":runaway": func() { // never the same process for long, and in no group that anybody knows
		_, _ = syscall.Setsid()
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		time.Sleep(20 * time.Millisecond)
		spawn(":runaway")
	},
}
