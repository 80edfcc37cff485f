package plugins

// Containment says how a plugin's process is shut in: what was asked of the kernel and is in force, and
// what it refused. Nothing of it is left out silently.
type Containment struct {
	InForce []string `json:"in_force"`
	Missing []Gap    `json:"missing"`
}

// Gap is a containment that is not in force.
type Gap struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

func (c *Containment) has(what ...string) { c.InForce = append(c.InForce, what...) }

func (c *Containment) lacks(what, why string) { c.Missing = append(c.Missing, Gap{what, why}) }

// gaps names what is missing.
func (c Containment) gaps() (names []string) {
	for _, g := range c.Missing {
		names = append(names, g.What)
	}
	return names
}

// The words for what there is. They are shown, and never change their meaning.
const (
	ownGroup      = "own process group"
	emptyEnv      = "empty environment"
	privateSocket = "private socket directory"
	diesWithHost  = "dies with its host"
	noNewPrivs    = "no new privileges"
	userSpace     = "user namespace"
	pidSpace      = "pid namespace"
	netSpace      = "network namespace"
	noWrites      = "writes nowhere else"
	noStore       = "cannot read the data directory"
	noTCP         = "no tcp"
	noSignals     = "signals nobody else"
	limitFiles    = "limit of open files"
	limitCore     = "no core dumps"
	limitSize     = "limit of a file's size"
	limitMemory   = "limit of memory"
	limitProcs    = "limit of processes"
	limitsAtOnce  = "limits from the first instruction"
	sealedImage   = "sealed image"
)

// The limits of one process.
const (
	defaultMemory = 1 << 30 // bytes that it can write to, of a third party's
	maxFileSize   = 1 << 28 // bytes, of a third party's
	maxOpenFiles  = 1024
	maxProcesses  = 512 // threads count
)

// confine says how a plugin is to be shut in.
type confine struct {
	trusted bool   // it is built in: it may write files, where its operator has said
	network bool   // it declared that it needs one
	memory  uint64 // of a third party; 0 is no limit
	private string // the one directory in which a third party may write
	folder  string // what it was installed as
	hidden  string // what a third party must not read: the data directory; "": nothing is hidden
}
