package actions

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/reprieve-run/reprieve/plugins/sdk"
)

type csvParams struct {
	File    string   `json:"file" jsonschema:"the file's name, which ends in .csv, in the folder that the operator has set"`
	Columns []string `json:"columns" jsonschema:"what to write, in this order: id, created_at, email, phone, external_id, tags, fields.NAME"`
}

// keyColumn holds a hash of the idempotency key. It is what lets a row be written once: the file itself says
// which rows it has, so nothing has to agree with it after a kill.
const keyColumn = "_key"

// csvExport has the folder of its configuration, and what it has read of the files in it.
func csvExport() sdk.Action {
	x := &exporter{files: map[string]*csvFile{}}
	return sdk.Action{
		Name: "csv.export",
		Summary: "Append the contact as a row to a CSV file in the operator's folder, once per step. A file has the columns of its first row's step " +
			"and one more, _key, by which a step that is tried again finds its row; who edits the file must keep it. What was written is out of " +
			"Reprieve's hands: no deletion or erasure reaches it.",
		Reads:    []string{"created_at", "email", "external_id", "fields", "phone", "tags"},
		External: true, Idempotent: true,
		Run: sdk.Func(x.run), Configure: x.configure,
	}
}

type exporter struct {
	mu    sync.Mutex
	dir   string
	files map[string]*csvFile
}

// csvFile is what was read of a file: of this very file at this size.
type csvFile struct {
	info os.FileInfo
	size int64
	head string
	keys map[string]bool
}

func (x *exporter) configure(raw json.RawMessage) error {
	var c struct {
		Dir string `json:"dir"`
	}
	if err := strictly(raw, &c); err != nil {
		return err
	}
	if c.Dir != "" {
		if !strings.HasPrefix(c.Dir, "/") {
			return errors.New("dir is not an absolute path")
		}
		if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
			return errors.New("dir is no folder that can be used")
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dir = c.Dir
	return nil
}

// strictly decodes what the operator has set; a name that there is not is an error.
func strictly(raw json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

var csvName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.csv$`)

func (x *exporter) run(_ context.Context, call sdk.Call, p csvParams) (sdk.Effects, error) {
	if !csvName.MatchString(p.File) {
		return nil, invalid("the file's name is not made of letters, digits, dot, dash and underscore, or does not end in .csv")
	}
	if len(p.Columns) == 0 || len(p.Columns) > 100 {
		return nil, invalid("there are no columns, or more than 100")
	}
	for i, c := range p.Columns {
		if !validColumn(c) || slices.Contains(p.Columns[:i], c) {
			return nil, invalid("a column is not id, created_at, email, phone, external_id, tags or fields.NAME, or is there twice")
		}
	}
	if r, err := onLive(call, func(int) sdk.Effects { return nil }); err != nil {
		return r, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.dir == "" {
		return nil, sdk.Fail("not_configured", "the operator has set no folder for csv.export").WithHint("set dir for csv.export in actions.yaml: docs/operations.md")
	}
	if call.DryRun {
		return nil, sdk.Skip("dry run")
	}
	var rows [][]string
	for i, t := range call.Targets {
		row := make([]string, 0, len(p.Columns)+1)
		for _, c := range p.Columns {
			row = append(row, guarded(cell(t, c)))
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", call.Key, i))
		rows = append(rows, append(row, hex.EncodeToString(sum[:16])))
	}
	return x.append(p.File, append(slices.Clone(p.Columns), keyColumn), rows)
}

func validColumn(c string) bool {
	if name, field := strings.CutPrefix(c, "fields."); field {
		return name != "" && len(name) <= 256 && !strings.ContainsFunc(name, unicode.IsControl) // the head is a line
	}
	return slices.Contains([]string{"id", "created_at", "email", "phone", "external_id", "tags"}, c)
}

func cell(t sdk.Target, column string) string {
	c := t.Contact
	switch column {
	case "id":
		return t.ID
	case "created_at":
		return text(c.CreatedAt)
	case "email":
		return c.Email
	case "phone":
		return c.Phone
	case "external_id":
		return c.ExternalID
	case "tags":
		return text(c.Tags)
	}
	return text(c.Fields[strings.TrimPrefix(column, "fields.")])
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.UTC().Format(time.RFC3339Nano)
	case []string:
		return strings.Join(v, ", ")
	}
	return ""
}

var phoneNumber = regexp.MustCompile(`^\+[0-9]{7,15}$`)

// guarded keeps a spreadsheet from taking what a contact said of itself for a formula; a telephone number
// stays as it is, as far as it is nothing else. A cell has no line breaks, so that a row is a line, and one
// that a kill cut short can be told from the others.
func guarded(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) && !phoneNumber.MatchString(s) {
		s = "'" + s
	}
	return strings.NewReplacer("\r\n", " ", "\r", " ", "\n", " ").Replace(s)
}

// append writes the rows that the file does not have, in one write, and holds it to the disk. The file is
// locked meanwhile: what another process wrote is seen, and what a kill left half written is cut off.
func (x *exporter) append(name string, head []string, rows [][]string) (sdk.Effects, error) {
	root, err := os.OpenRoot(x.dir) // no link leads out of it
	if err != nil {
		return nil, errFolder
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, errFolder
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errFolder
	}
	is, err := x.known(name, f)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(head)
	w.Flush()
	first := strings.TrimRight(b.String(), "\n")
	switch is.head {
	case "":
	case first:
		b.Reset()
	default:
		return nil, sdk.Fail("other_columns", "the file has other columns than the step").WithHint("name another file, or move this one away")
	}
	var wrote []string
	for _, row := range rows {
		if key := row[len(row)-1]; !is.keys[key] {
			wrote = append(wrote, key)
			_ = w.Write(row)
		}
	}
	w.Flush()
	if delete(x.files, name); len(wrote) > 0 { // not known again until all went well
		if _, err := f.Write(b.Bytes()); err != nil {
			return nil, errFolder
		}
	}
	if err := f.Sync(); err != nil { // also of rows that a try before may have left unsynced
		return nil, errFolder
	}
	is.head = first
	for _, key := range wrote {
		is.keys[key] = true
	}
	if is.info, err = f.Stat(); err == nil {
		is.size, x.files[name] = is.info.Size(), is
	}
	if len(wrote) == 0 {
		return nil, sdk.Skip("written already")
	}
	return nil, nil
}

var errFolder = sdk.Retry(time.Minute, errors.New("the operator's folder or the file in it cannot be written"))

// known gives what the file holds, reading it again unless it is as it was left.
func (x *exporter) known(name string, f *os.File) (*csvFile, error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, errFolder
	}
	if is := x.files[name]; is != nil && os.SameFile(is.info, info) && is.size == info.Size() {
		return is, nil
	}
	is := &csvFile{keys: map[string]bool{}}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errFolder
	}
	whole := int64(0)
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadString('\n')
		if err == io.EOF { // what is left of a row that a kill cut short ends no line
			break
		}
		if err != nil {
			return nil, errFolder
		}
		whole += int64(len(line))
		line = strings.TrimRight(line, "\r\n")
		if is.head == "" {
			is.head = line
			continue
		}
		is.keys[line[strings.LastIndexByte(line, ',')+1:]] = true
	}
	if whole < info.Size() {
		if err := f.Truncate(whole); err != nil {
			return nil, errFolder
		}
	}
	return is, nil
}
