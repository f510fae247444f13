package ondisk

import (
	"testing"
)

// fuzzBlock fuzzes the body of one type of block under a valid header and CRC, and the block as it is.
func fuzzBlock(f *testing.F, name string) {
	var ds []decoder
	for _, d := range blockDecoders() {
		if d.name == name {
			ds = append(ds, d)
			f.Add(d.sample(), true)
			f.Add(d.sample()[:200], false)
		}
	}
	if len(ds) == 0 {
		f.Fatalf("no decoder for %q", name)
	}
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		for _, d := range ds {
			if !seal {
				judge(t, d, b)
				continue
			}
			full := d.sample()
			clear(full[HeaderSize:])
			if len(b) > HeaderSize {
				copy(full[HeaderSize:], b[HeaderSize:])
			}
			Seal(full)
			judge(t, d, full)
		}
	})
}

func FuzzDecodeSuper(f *testing.F)         { fuzzBlock(f, "super") }
func FuzzDecodeGrow(f *testing.F)          { fuzzBlock(f, "grow") }
func FuzzDecodeView(f *testing.F)          { fuzzBlock(f, "view") }
func FuzzDecodeBallot(f *testing.F)        { fuzzBlock(f, "ballot") }
func FuzzDecodeSlot(f *testing.F)          { fuzzBlock(f, "slot") }
func FuzzDecodeSpace(f *testing.F)         { fuzzBlock(f, "space") }
func FuzzDecodeGroup(f *testing.F)         { fuzzBlock(f, "group") }
func FuzzDecodeBitmap(f *testing.F)        { fuzzBlock(f, "bitmap") }
func FuzzDecodeInode(f *testing.F)         { fuzzBlock(f, "inode") }
func FuzzDecodeNode(f *testing.F)          { fuzzBlock(f, "node") }
func FuzzDecodeJournalHead(f *testing.F)   { fuzzBlock(f, "journal head") }
func FuzzDecodeJournalDesc(f *testing.F)   { fuzzBlock(f, "journal descriptor") }
func FuzzDecodeJournalCommit(f *testing.F) { fuzzBlock(f, "journal commit") }

func fuzzValue(f *testing.F, name string) {
	for _, s := range valueSamples() {
		if s.name == name {
			f.Add(s.key, s.value)
		}
	}
	f.Add(uint64(0), []byte{})
	f.Fuzz(func(t *testing.T, key uint64, v []byte) { judgeValue(t, name, key, v) })
}

func FuzzDecodeExtent(f *testing.F)  { fuzzValue(f, "extent") }
func FuzzDecodeDirents(f *testing.F) { fuzzValue(f, "dirent") }
func FuzzDecodeOrphan(f *testing.F)  { fuzzValue(f, "orphan") }
func FuzzDecodeFree(f *testing.F)    { fuzzValue(f, "deferred free") }

// The dumper must live with anything too, whatever the layout.
func FuzzDump(f *testing.F) {
	for _, d := range blockDecoders() {
		f.Add(d.sample())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for i := range Layouts {
			_, _ = Layouts.Dump(Layouts[i].Name, b)
			_, _ = Layouts.Sequence(Layouts[i].Name, b)
		}
	})
}
