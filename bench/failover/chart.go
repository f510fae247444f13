package main

import (
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/covol/covol/bench/host"
)

// chart is a histogram that was written.
type chart struct {
	title string
	file  string // name, in the directory of the report
}

// bins of a histogram.
const bins = 20

// drawScenario writes the histogram of the waits of a scenario as base-FENCE-PROFILE.svg.
func drawScenario(base string, s *scenario) (chart, error) {
	c := chart{title: "Seconds from kill -9 to the survivor's operation: " + s.String(), file: filepath.Base(base) + "-" + s.fence + "-" + s.profile + ".svg"}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = s.String(), "seconds from kill -9 to the end of the survivor's operation", "repetitions"
	p.Legend.Top = true
	p.X.Min = 0
	for i := range s.variants {
		v := &s.variants[i]
		if len(v.waits) == 0 {
			continue
		}
		h, err := plotter.NewHist(seconds(v.waits), bins)
		if err != nil {
			return c, err
		}
		h.FillColor = plotutil.SoftColors[i]
		h.LineStyle.Color = plotutil.DarkColors[i]
		p.Add(h)
		p.Legend.Add("operation begins "+v.name, h)
	}
	return c, p.Save(16*vg.Centimeter, 9*vg.Centimeter, filepath.Join(filepath.Dir(base), c.file))
}

func seconds(s host.Sample) plotter.Values {
	var v plotter.Values
	for _, d := range s {
		v = append(v, d.Seconds())
	}
	return v
}
