package cluster

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// LocalMachine reads the ids of this host. Without a machine-id the boot id stands in for it: that is enough to
// recognise neighbours of the same boot, and nothing else is ever concluded from it.
func LocalMachine() (Machine, error) {
	boot, err := readID("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Machine{}, fmt.Errorf("boot id: %w", err)
	}
	host, err := readID("/etc/machine-id")
	if err != nil {
		host = boot
	}
	return Machine{Host: host, Boot: boot, Pid: uint32(os.Getpid())}, nil
}

func readID(path string) (id [16]byte, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return id, err
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err != nil {
		return id, fmt.Errorf("%s: %w", path, err)
	}
	if len(raw) != len(id) {
		return id, fmt.Errorf("%s: %d bytes, want %d", path, len(raw), len(id))
	}
	copy(id[:], raw)
	return id, nil
}
