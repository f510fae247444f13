package integration

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/covol/covol/"

// layers is the import table of the design: a package may import what its row names, and nothing else of this module. A
// name that ends in /... stands for the package and all below it. Rows are looked up by the longest name.
var layers = map[string][]string{
	"cluster/view":    {},
	"ondisk/sched":    {},
	"ondisk/layout":   {},
	"ondisk":          {"ondisk/layout"},
	"ondisk/volume":   {"ondisk", "ondisk/blockdev"},
	"ondisk/mkfs":     {"ondisk", "ondisk/blockdev", "ondisk/volume"},
	"ondisk/dump":     {"ondisk", "ondisk/layout", "ondisk/blockdev", "ondisk/volume"},
	"ondisk/check":    {"ondisk", "ondisk/blockdev", "ondisk/volume", "cluster/view"},
	"ondisk/blockdev": {},
	// Devices do not know each other, but for the plain one in memory.
	"ondisk/blockdev/...":      {"ondisk/blockdev", "ondisk/blockdev/memdev", "ondisk/sched"},
	"ondisk/sched/simsched":    {"ondisk/sched"},
	"ondisk/check/bigindex":    {"ondisk/check"},
	"ondisk/check/checktest":   {"ondisk", "ondisk/blockdev", "ondisk/blockdev/memdev", "ondisk/check", "ondisk/volume", "ondisk/mkfs", "cluster/view"},
	"ondisk/volume/volumetest": {"ondisk", "ondisk/blockdev", "ondisk/blockdev/memdev", "ondisk/volume", "ondisk/mkfs"},
	"ondisk/blockdev/devtest":  {"ondisk/blockdev"},

	"dlm/wire":   {"cluster/view", "ondisk/layout"},
	"dlm":        {"dlm/wire", "cluster/view", "ondisk/sched"},
	"dlm/tcp":    {"dlm", "cluster/view"},
	"dlm/simnet": {"dlm", "dlm/wire", "cluster/view", "ondisk/sched/..."},

	// The journal never knows locks, the lock manager never the disk, and the cluster neither.
	"journal":                   {"ondisk", "ondisk/blockdev", "ondisk/sched", "cluster/view"},
	"cluster":                   {"ondisk", "ondisk/blockdev", "ondisk/sched", "cluster/view", "cluster/reach", "cluster/fence", "cluster/paxos"},
	"cluster/reach":             {},
	"cluster/fence":             {"cluster/view"},
	"cluster/fence/reservation": {"cluster/fence", "cluster/view", "ondisk/blockdev"},
	"cluster/paxos":             {"ondisk", "ondisk/blockdev", "ondisk/sched"},
	"cluster/watchdog":          {},

	// Who may talk, and who seems to be there. Neither knows the disk, which decides.
	"cluster/pki":  {},
	"cluster/serf": {"cluster/view"},

	// One node's wiring, for the command and the simulator.
	"member": {"ondisk", "ondisk/blockdev", "ondisk/sched", "ondisk/volume", "journal", "dlm", "cluster", "cluster/...", "fs"},

	"fs":            {"ondisk", "ondisk/blockdev", "ondisk/sched", "journal", "dlm", "cluster/view"},
	"fs/posixtest":  {},
	"fs/fusefs":     {"fs"},
	"fs/fusefs/...": {"fs", "fs/fusefs", "ondisk/blockdev"},

	// The wire knows neither side of it; a server of SCSI commands knows no wire; target and initiator share only both.
	"iscsi/pdu":       {},
	"iscsi/chap":      {"iscsi/pdu"},
	"iscsi/scsi":      {"ondisk/blockdev"},
	"iscsi/store":     {"ondisk/blockdev", "ondisk/blockdev/filedev"},
	"iscsi/initiator": {"iscsi/pdu", "iscsi/chap", "iscsi/scsi", "ondisk/blockdev", "ondisk/sched"},
	"iscsi/reserve":   {"iscsi/initiator", "iscsi/scsi", "cluster/fence/reservation"},
	"iscsi/target":    {"iscsi/pdu", "iscsi/chap", "iscsi/scsi", "ondisk/blockdev", "ondisk/sched"},

	// Who runs a virtual machine is decided apart from how it runs.
	"vmhost/handover": {},

	"bench/...":       {"..."},
	"integration/...": {"..."},
	"cmd/...":         {"..."},
}

// nobody may import these.
var tops = []string{"bench", "integration", "cmd"}

// owners are libraries of which the rest of the module must not know.
var owners = map[string][]string{
	"bazil.org/fuse":                  {"fs/fusefs/bazil"},
	"github.com/hashicorp/serf":       {"cluster/serf"},
	"github.com/hashicorp/memberlist": {"cluster/serf"},
	"github.com/spf13/cobra":          {"cmd"},
	"github.com/gostor/gotgt":         {"iscsi"},
	"github.com/dgraph-io/badger":     {"cmd", "ondisk/check/bigindex"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		require.NoError(t, err, string(exit.Stderr))
	}
	require.NoError(t, err)
	var all []goPackage
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			return all
		}
		require.NoError(t, err)
		all = append(all, p)
	}
}

// within reports whether pkg is named by pattern.
func within(pkg, pattern string) bool {
	if pattern == "..." {
		return true
	}
	if dir, all := strings.CutSuffix(pattern, "/..."); all {
		return pkg == dir || strings.HasPrefix(pkg, dir+"/")
	}
	return pkg == pattern
}

// layerOf finds the row of a package: its own, else that of the nearest directory with /... .
func layerOf(pkg string) ([]string, bool) {
	if row, ok := layers[pkg]; ok {
		return row, true
	}
	for dir := pkg; dir != "."; dir = path.Dir(dir) {
		if row, ok := layers[dir+"/..."]; ok {
			return row, true
		}
	}
	return nil, false
}

// TestLayers holds every import of the module to the table.
func TestLayers(t *testing.T) {
	all := packages(t)
	require.NotEmpty(t, all)
	for _, p := range all {
		pkg := strings.TrimPrefix(p.ImportPath, module)
		row, ok := layerOf(pkg)
		if !ok {
			t.Errorf("%s is not in the table of layers", pkg)
			continue
		}
		for _, imp := range p.Imports {
			checkImport(t, pkg, imp, row)
		}
	}
}

func checkImport(t *testing.T, pkg, imp string, row []string) {
	for lib, may := range owners {
		if within(imp, lib+"/...") && !slices.ContainsFunc(may, func(owner string) bool { return within(pkg, owner+"/...") }) {
			t.Errorf("%s imports %s, which only %s may", pkg, imp, strings.Join(may, " and "))
		}
	}
	dep, ours := strings.CutPrefix(imp, module)
	if !ours {
		return
	}
	for _, top := range tops {
		if within(dep, top+"/...") && !within(pkg, top+"/...") {
			t.Errorf("%s imports %s, which nobody may", pkg, dep)
			return
		}
	}
	for _, allowed := range row {
		if within(dep, allowed) {
			return
		}
	}
	t.Errorf("%s imports %s, which its layer may not", pkg, dep)
}

// TestLayersTable keeps rows of packages that are gone out of the table.
func TestLayersTable(t *testing.T) {
	all := packages(t)
	for row := range layers {
		found := false
		for _, p := range all {
			found = found || within(strings.TrimPrefix(p.ImportPath, module), row)
		}
		if !found && !strings.HasPrefix(row, "bench") {
			t.Errorf("the table of layers has a row for %s, which does not exist", row)
		}
	}
}
