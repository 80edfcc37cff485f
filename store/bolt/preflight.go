package bolt

import (
	"encoding/binary"
	"hash/fnv"
	"io"
)

// What bbolt's file begins with: two pages, each with a header and a meta record of which the valid
// one with the higher transaction number counts. bbolt writes them in the machine's byte order.
const (
	pageHeader   = 16
	metaSize     = 64
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
)

type meta struct {
	pageSize, root, freelist, pages, txid uint64
}

// preflight refuses a file on which bbolt would crash when it opens or first uses it: not a bbolt
// file, cut short, or with a root or free list that is none. Damage further down shows as an error
// when the page is read, and to Check.
func preflight(f io.ReaderAt, size uint64) error {
	m, err := currentMeta(f, size)
	if err != nil {
		return err
	}
	switch {
	case m.pages > size/m.pageSize:
		return corrupt("it is cut short: %d bytes of at least %d", size, m.pages*m.pageSize)
	case m.root < 2 || m.root >= m.pages:
		return corrupt("its root page is out of range")
	case m.freelist < 2 || m.freelist >= m.pages: // a list that was left out counts as damage: we never do
		return corrupt("its free list is missing or out of range")
	}
	if _, err := page(f, m, m.root, flagBranch|flagLeaf); err != nil {
		return corrupt("its root page is damaged")
	}
	return checkFreelist(f, m)
}

// currentMeta gives the meta record that bbolt would use.
func currentMeta(f io.ReaderAt, size uint64) (m meta, err error) {
	found := false
	// The second page's place depends on the page size, which only a valid record tells.
	for at := uint64(0); at < size && at <= 1<<24; at = max(1024, at*2) {
		if c, ok := readMeta(f, at); ok && (at == 0 || c.pageSize == at) {
			if !found || c.txid > m.txid {
				m = c
			}
			found = true
		}
	}
	if !found {
		return m, corrupt("it is not a bbolt file, or its first pages are damaged")
	}
	return m, nil
}

func readMeta(f io.ReaderAt, at uint64) (m meta, ok bool) {
	var b [metaSize]byte
	if _, err := f.ReadAt(b[:], int64(at)+pageHeader); err != nil {
		return m, false
	}
	h := fnv.New64a()
	_, _ = h.Write(b[:metaSize-8])
	n := binary.NativeEndian
	if n.Uint32(b[0:]) != metaMagic || n.Uint32(b[4:]) != metaVersion || n.Uint64(b[56:]) != h.Sum64() {
		return m, false
	}
	m = meta{pageSize: uint64(n.Uint32(b[8:])), root: n.Uint64(b[16:]), freelist: n.Uint64(b[32:]),
		pages: n.Uint64(b[40:]), txid: n.Uint64(b[48:])}
	return m, m.pageSize >= 1024 && m.pageSize&(m.pageSize-1) == 0
}

// page reads a page's header and checks number, kind and extent.
func page(f io.ReaderAt, m meta, id uint64, kinds uint16) (h [pageHeader]byte, err error) {
	if _, err := f.ReadAt(h[:], int64(id*m.pageSize)); err != nil {
		return h, err
	}
	n := binary.NativeEndian
	flags, overflow := n.Uint16(h[8:]), uint64(n.Uint32(h[12:]))
	if n.Uint64(h[0:]) != id || flags&kinds == 0 || flags&^kinds != 0 || id+overflow >= m.pages {
		return h, io.ErrUnexpectedEOF
	}
	return h, nil
}

// checkFreelist makes sure that the list lies within its pages and names pages of the file.
func checkFreelist(f io.ReaderAt, m meta) error {
	h, err := page(f, m, m.freelist, flagFreelist)
	if err != nil {
		return corrupt("its free list is damaged")
	}
	n := binary.NativeEndian
	room := (uint64(n.Uint32(h[12:]))+1)*m.pageSize - pageHeader
	b := make([]byte, room)
	if _, err := f.ReadAt(b, int64(m.freelist*m.pageSize)+pageHeader); err != nil {
		return corrupt("its free list is damaged")
	}
	count, ids := uint64(n.Uint16(h[10:])), b
	if count == 0xFFFF { // too many for the header: the first number is the count
		count, ids = n.Uint64(b), b[8:]
	}
	if count > uint64(len(ids)/8) {
		return corrupt("its free list is damaged")
	}
	for i := range count {
		if id := n.Uint64(ids[i*8:]); id < 2 || id >= m.pages {
			return corrupt("its free list names a page that is none")
		}
	}
	return nil
}
