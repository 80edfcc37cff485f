package bolt

import (
	"errors"
	"fmt"
	goruntime "runtime"

	"github.com/reprieve-run/reprieve/crm"
)

var errLocked = errors.New("locked")

// wrap gives an error of the file system or of bbolt our shape; nil stays nil.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return crm.Errorf(op, crm.CodeUnavailable, "%w", err).WithHint("check that the data directory can be read and written")
}

// misuse is a mistake of the calling code, not of its user.
func misuse(format string, args ...any) error {
	return crm.Errorf("use a transaction", crm.CodeInvalid, format, args...).WithHint("this is a bug in Reprieve: please report it")
}

func corrupt(format string, args ...any) error {
	return crm.Errorf("open the store", crm.CodeCorrupt, format, args...).
		WithHint("the file was left as it is; restore a backup into a new data directory, or name the right file")
}

// guard turns a panic of bbolt, which is how it reports a damaged page, into an error. It must
// enclose no function of the caller's.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = crm.Errorf("read the store", crm.CodeCorrupt, "a damaged page: %s", panicText(p)).
			WithHint("run reprieve store check; restore from a backup if it confirms the damage")
	}
}

// caught calls f and gives a panic of it as an error.
func caught(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %s", panicText(p))
		}
	}()
	return f()
}

// panicText keeps addresses and page content out of an error.
func panicText(p any) string {
	if e, ok := p.(goruntime.Error); ok {
		return fmt.Sprintf("%T", e)
	}
	return fmt.Sprint(p)
}
