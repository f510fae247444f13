package host

import (
	"fmt"
	"io"
	"os"
)

// SaveReport writes a report to a file, and says where it is.
func SaveReport(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return err
	}
	fmt.Fprintln(os.Stderr, "written:", f.Name())
	return f.Close()
}
