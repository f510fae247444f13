package scsi

import (
	"bytes"
	"context"
	"fmt"

	"github.com/covol/covol/ondisk/blockdev"
)

// fuaBit is FUA in byte 1 of reads and writes (SBC-3 5.11); CDBs of six bytes have none.
const fuaBit = 0x08

func fua(cdb []byte) bool { return len(cdb) > 6 && cdb[1]&fuaBit != 0 }

// span checks a range of blocks against the unit and the longest transfer, and returns it in bytes.
func (r *request) span(lba, blocks uint64) (off int64, n int, err error) {
	if err := r.u.inside(lba, blocks); err != nil {
		return 0, 0, err
	}
	if blocks > uint64(r.u.opts.MaxTransfer/r.u.geo.SectorSize) {
		return 0, 0, badField(lengthField(r.CDB))
	}
	return int64(lba) * int64(r.u.geo.SectorSize), int(blocks) * r.u.geo.SectorSize, nil
}

func (u *Unit) inside(lba, blocks uint64) error {
	if total := u.blocks(); lba > total || blocks > total-lba || lba == total && blocks == 0 {
		return illegal(LBAOutOfRange)
	}
	return nil
}

// outBlocks is the data of commands that write each block of their range.
func outBlocks(u *Unit, cdb []byte) uint64 {
	_, blocks := extent(cdb)
	return blocks * uint64(u.geo.SectorSize)
}

// outList is the data of commands with a parameter list, whose length is in the CDB.
func outList(at, n int) func(*Unit, []byte) uint64 {
	return func(_ *Unit, cdb []byte) uint64 { return number(cdb[at : at+n]) }
}

// whole is the data that the command needs. An initiator that says in its CDB more than it sent gets nothing written:
// half a command is worse than none.
func (r *request) whole(n int) ([]byte, error) {
	if len(r.Out) < n || r.mismatch(n) {
		return nil, illegal(InvalidFieldInCDB)
	}
	return r.Out[:n], nil
}

// mismatch reports that the initiator would send another number of bytes than the command takes.
func (r *request) mismatch(n int) bool { return r.Expected >= 0 && r.Expected != n }

func runRead(ctx context.Context, r *request) ([]byte, error) {
	lba, blocks := extent(r.CDB)
	off, n, err := r.span(lba, blocks)
	if err != nil || n == 0 {
		return nil, err
	}
	defer r.u.ranges.lock(lba, blocks, false)()
	p := r.alloc(n)
	return p, r.u.read(ctx, p, off)
}

func (u *Unit) read(ctx context.Context, p []byte, off int64) error {
	if err := u.dev.ReadAt(ctx, p, off); err != nil {
		return fmt.Errorf("read %d bytes at %d: %w: %w", len(p), off, &Sense{Key: MediumError, Code: UnrecoveredRead}, err)
	}
	return nil
}

// write runs to its end whatever becomes of ctx: the initiator that gave up must not find a torn range for that.
func (u *Unit) write(ctx context.Context, p []byte, off int64, fua bool) error {
	if err := u.dev.WriteAt(context.WithoutCancel(ctx), p, off, fua); err != nil {
		return fmt.Errorf("write %d bytes at %d: %w: %w", len(p), off, &Sense{Key: MediumError, Code: WriteError}, err)
	}
	return nil
}

// sent is the data of a write. Where the initiator said that it would send less than the command takes, the blocks that
// it did send are written and the transport reports the rest as residual overflow (RFC 7143 11.4.5.1).
func (r *request) sent(n int) []byte {
	have := min(len(r.Out), n)
	return r.Out[:have-have%r.u.geo.SectorSize]
}

func runWrite(ctx context.Context, r *request) ([]byte, error) {
	lba, blocks := extent(r.CDB)
	off, n, err := r.span(lba, blocks)
	if err != nil || n == 0 {
		return nil, err
	}
	p := r.sent(n)
	defer r.u.ranges.lock(lba, blocks, false)()
	return nil, r.u.write(ctx, p, off, fua(r.CDB))
}

// byteCheck is BYTCHK of VERIFY and WRITE AND VERIFY (SBC-3 5.29).
func byteCheck(cdb []byte) byte { return cdb[1] >> 1 & 3 }

func runWriteVerify(ctx context.Context, r *request) ([]byte, error) {
	if byteCheck(r.CDB) > 1 {
		return nil, badField(1)
	}
	lba, blocks := extent(r.CDB)
	off, n, err := r.span(lba, blocks)
	if err != nil || n == 0 {
		return nil, err
	}
	p := r.sent(n)
	defer r.u.ranges.lock(lba, blocks, true)() // nobody may write between our write and our look at it
	if err := r.u.write(ctx, p, off, true); err != nil {
		return nil, err
	}
	return nil, r.u.compare(ctx, p, off)
}

// outVerify is the data to compare with: none, all blocks, or one for all.
func outVerify(u *Unit, cdb []byte) uint64 {
	_, blocks := extent(cdb)
	switch byteCheck(cdb) {
	case 1:
		return blocks * uint64(u.geo.SectorSize)
	case 3:
		return uint64(u.geo.SectorSize)
	}
	return 0
}

func runVerify(ctx context.Context, r *request) ([]byte, error) {
	if byteCheck(r.CDB) == 2 {
		return nil, badField(1)
	}
	lba, blocks := extent(r.CDB)
	off, n, err := r.span(lba, blocks)
	if err != nil || n == 0 {
		return nil, err
	}
	want, err := r.whole(int(outVerify(r.u, r.CDB)))
	if err != nil {
		return nil, err
	}
	defer r.u.ranges.lock(lba, blocks, false)()
	switch byteCheck(r.CDB) {
	case 0:
		return nil, r.u.read(ctx, blockdev.Alloc(n), off)
	case 3:
		want = bytes.Repeat(want, int(blocks))
	}
	return nil, r.u.compare(ctx, want, off)
}

// compare reads what should be want. The sense tells the first byte that is not (SBC-3 5.2, 5.29).
func (u *Unit) compare(ctx context.Context, want []byte, off int64) error {
	got := blockdev.Alloc(len(want))
	if err := u.read(ctx, got, off); err != nil {
		return err
	}
	if bytes.Equal(got, want) {
		return nil
	}
	at := 0
	for got[at] == want[at] {
		at++
	}
	return &Sense{Key: Miscompare, Code: MiscompareVerify, Info: uint64(at), HasInfo: true}
}

func runPrefetch(_ context.Context, r *request) ([]byte, error) {
	lba, blocks := extent(r.CDB)
	return nil, r.u.inside(lba, blocks) // there is no cache to fill
}

func runSync(ctx context.Context, r *request) ([]byte, error) {
	lba, blocks := extent(r.CDB)
	if err := r.u.inside(lba, blocks); err != nil {
		return nil, err
	}
	if err := r.u.dev.Flush(context.WithoutCancel(ctx)); err != nil {
		return nil, fmt.Errorf("flush: %w: %w", &Sense{Key: MediumError, Code: WriteError}, err)
	}
	return nil, nil
}

func runStartStop(ctx context.Context, r *request) ([]byte, error) {
	const start, loadEject, noFlush = 0x01, 0x02, 0x04
	if r.CDB[4]&0xf0 != 0 || r.CDB[4]&loadEject != 0 {
		return nil, badField(4) // no power conditions, no removable medium
	}
	if r.CDB[4]&(start|noFlush) != 0 {
		return nil, nil
	}
	if err := r.u.dev.Flush(context.WithoutCancel(ctx)); err != nil {
		return nil, fmt.Errorf("flush before stop: %w: %w", &Sense{Key: MediumError, Code: WriteError}, err)
	}
	return nil, nil
}
