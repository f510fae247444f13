package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/covol/covol/cluster/view"
)

// Where is the place of a finding.
type Where struct {
	Block uint64     `json:"block"`           // in which it was seen, or that is meant
	Inode uint64     `json:"inode,omitempty"` // 0 if none is concerned
	Path  string     `json:"path,omitempty"`  // of the inode, if it is known
	Group *uint32    `json:"group,omitempty"`
	Slot  *view.Slot `json:"slot,omitempty"`
}

// String is the place in words.
func (w Where) String() string {
	var s []string
	if w.Path != "" {
		s = append(s, fmt.Sprintf("%q", w.Path))
	}
	if w.Inode != 0 {
		s = append(s, fmt.Sprintf("inode %d", w.Inode))
	}
	if w.Group != nil {
		s = append(s, fmt.Sprintf("group %d", *w.Group))
	}
	if w.Slot != nil {
		s = append(s, fmt.Sprintf("slot %d", *w.Slot))
	}
	if w.Inode == 0 || w.Block != w.Inode {
		s = append(s, fmt.Sprintf("block %d", w.Block))
	}
	return strings.Join(s, ", ")
}

// Finding is one thing that is wrong, or worth knowing.
type Finding struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	Where    Where    `json:"where"`
	Text     string   `json:"text"` // what is wrong, in plain words
	Fix      string   `json:"fix"`  // what a repair does

	// First and Count are the range concerned: blocks of the volume for metadata and fixed blocks, clusters of the
	// volume for data. Count is 0 where there is no range.
	First uint64 `json:"first,omitempty"`
	Count uint64 `json:"count,omitempty"`
	// Key is the key of the tree slot concerned: a hash, a logical cluster, an inode number.
	Key uint64 `json:"key,omitempty"`
	// Name is the directory entry concerned; Where.Inode is then its directory, Target the inode it leads to.
	Name   string `json:"name,omitempty"`
	Target uint64 `json:"target,omitempty"`
	// Got and Want are the two values that disagree.
	Got  int64 `json:"got,omitempty"`
	Want int64 `json:"want,omitempty"`
	// Owners are all owners of what was claimed twice.
	Owners []Where `json:"owners,omitempty"`
}

// String is the finding on one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s %s: %s: %s", f.Severity, f.Code, f.Where, f.Text)
}

// Stats counts what the walk has seen. It is complete only as far as the volume is readable.
type Stats struct {
	Files    uint64 `json:"files"`
	Dirs     uint64 `json:"dirs"`
	Symlinks uint64 `json:"symlinks"`
	Special  uint64 `json:"special"`
	Names    uint64 `json:"names"`
	Bytes    uint64 `json:"bytes"` // sizes of all regular files

	ClusterSize   uint32 `json:"cluster_size"`
	ClustersUsed  uint64 `json:"clusters_used"` // in formatted groups, metadata included
	ClustersFree  uint64 `json:"clusters_free"` // groups not formatted yet included
	DataClusters  uint64 `json:"data_clusters"` // of files
	MetaUsed      uint64 `json:"meta_used"`     // metadata blocks in groups
	MetaFree      uint64 `json:"meta_free"`     // free blocks of metadata clusters
	Groups        uint32 `json:"groups"`
	GroupsReady   uint32 `json:"groups_ready"` // formatted
	Extents       uint64 `json:"extents"`
	Fragments     uint64 `json:"fragments"` // runs that are contiguous in file and volume
	TreeNodes     uint64 `json:"tree_nodes"`
	MaxFileTree   int    `json:"max_file_tree"` // levels, root in the record included
	MaxDirTree    int    `json:"max_dir_tree"`
	Orphans       uint64 `json:"orphans"`
	DeferredFrees uint64 `json:"deferred_frees"` // entries
	Prealloc      uint64 `json:"prealloc"`       // clusters behind the end of files

	LogTransactions uint64 `json:"log_transactions"` // of dirty journals
	LogBlocks       uint64 `json:"log_blocks"`       // laid over the device
}

// FragmentsPerGiB is how many fragments a GiB of file data has.
func (s *Stats) FragmentsPerGiB() float64 {
	if s.DataClusters == 0 {
		return 0
	}
	return float64(s.Fragments) * (1 << 30) / (float64(s.DataClusters) * float64(s.ClusterSize))
}

// Report is the outcome of a check.
type Report struct {
	UUID     string `json:"uuid"`
	Label    string `json:"label"`
	Findings []Finding
	// Dropped is how many findings were made beyond Options.MaxFindings.
	Dropped uint64
	// DirtyJournals are the slots whose journals must be replayed, ascending.
	DirtyJournals []view.Slot
	Stats         Stats
}

// Clean reports whether nothing worse than info was found. A volume with dirty journals may be clean: it is judged
// as it will be after replay.
func (r *Report) Clean() bool { return r.Count(Warning) == 0 && r.Count(Error) == 0 }

// Count is the number of kept findings of one severity.
func (r *Report) Count(s Severity) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Severity == s {
			n++
		}
	}
	return n
}

// Codes are the codes of all findings of at least the given severity, ascending, each once.
func (r *Report) Codes(least Severity) []Code {
	var all []Code
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Severity >= least {
			all = append(all, f.Code)
		}
	}
	slices.SortFunc(all, cmp.Compare)
	return slices.Compact(all)
}

// MarshalJSON adds the verdict.
func (r *Report) MarshalJSON() ([]byte, error) {
	type plain struct {
		UUID          string      `json:"uuid"`
		Label         string      `json:"label"`
		Clean         bool        `json:"clean"`
		Findings      []Finding   `json:"findings"`
		Dropped       uint64      `json:"findings_dropped"`
		DirtyJournals []view.Slot `json:"dirty_journals"`
		Stats         Stats       `json:"stats"`
		Fragments     float64     `json:"fragments_per_gib"`
	}
	p := plain{r.UUID, r.Label, r.Clean(), r.Findings, r.Dropped, r.DirtyJournals, r.Stats, r.Stats.FragmentsPerGiB()}
	if p.Findings == nil {
		p.Findings = []Finding{}
	}
	if p.DirtyJournals == nil {
		p.DirtyJournals = []view.Slot{}
	}
	return json.Marshal(p)
}

// WriteText prints the findings of at least the given severity, then a summary, for people.
func (r *Report) WriteText(w io.Writer, least Severity) error {
	var b strings.Builder
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Severity >= least {
			fmt.Fprintf(&b, "%s\n", f)
			for _, o := range f.Owners {
				fmt.Fprintf(&b, "    owner: %s\n", o)
			}
			fmt.Fprintf(&b, "    repair: %s\n", f.Fix)
		}
	}
	r.summary(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) summary(b *strings.Builder) {
	s := &r.Stats
	bytes := func(clusters uint64) string { return humanize.IBytes(clusters * uint64(s.ClusterSize)) }
	fmt.Fprintf(b, "volume %q %s\n", r.Label, r.UUID)
	fmt.Fprintf(b, "%s files, %s directories, %s symbolic links, %s special files; %s in files\n", humanize.Comma(int64(s.Files)),
		humanize.Comma(int64(s.Dirs)), humanize.Comma(int64(s.Symlinks)), humanize.Comma(int64(s.Special)), humanize.IBytes(s.Bytes))
	fmt.Fprintf(b, "%s used, %s free; %d of %d groups in use; %d metadata blocks used, %d free\n", bytes(s.ClustersUsed),
		bytes(s.ClustersFree), s.GroupsReady, s.Groups, s.MetaUsed, s.MetaFree)
	fmt.Fprintf(b, "%d extents, %.1f fragments per GiB; trees of files up to %d levels, of directories up to %d\n", s.Extents,
		s.FragmentsPerGiB(), s.MaxFileTree, s.MaxDirTree)
	if s.Orphans+s.DeferredFrees > 0 {
		fmt.Fprintf(b, "%s, %s\n", plural(s.Orphans, "orphan"), plural(s.DeferredFrees, "deferred free"))
	}
	if len(r.DirtyJournals) > 0 {
		fmt.Fprintf(b, "journals to replay: %v (%s, %s)\n", r.DirtyJournals, plural(s.LogTransactions, "transaction"), plural(s.LogBlocks, "block"))
	}
	if r.Clean() {
		b.WriteString("clean\n")
		return
	}
	fmt.Fprintf(b, "%s, %s\n", plural(uint64(r.Count(Error)), "error"), plural(uint64(r.Count(Warning)), "warning"))
}
