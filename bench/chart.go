package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// chart is a plot that was written.
type chart struct {
	section string
	growth  int // index of the growth, in section scale
	title   string
	file    string // name, in the directory of the report
}

// draw writes the plots as base-NAME.svg.
func (r *report) draw(base string) error {
	for _, s := range sections {
		works := slices.DeleteFunc(slices.Clone(r.works), func(w work) bool { return w.section != s || !r.done(w) })
		if len(works) == 0 {
			continue
		}
		c := chart{section: s, title: titles[s] + ": medians as a share of the best", file: filepath.Base(base) + "-" + s + ".svg"}
		if err := r.bars(c, works, filepath.Join(filepath.Dir(base), c.file)); err != nil {
			return err
		}
		r.charts = append(r.charts, c)
	}
	for i, g := range r.growths {
		c := chart{section: "scale", growth: i, title: g.title, file: fmt.Sprintf("%s-growth%d.svg", filepath.Base(base), i+1)}
		if err := g.lines(filepath.Join(filepath.Dir(base), c.file)); err != nil {
			return err
		}
		r.charts = append(r.charts, c)
	}
	return nil
}

// bars shows every target at every work, as a share of the best of that work: works have different units.
func (r *report) bars(c chart, works []work, file string) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = c.title, "share of the best"
	p.X.Min, p.X.Max = 0, 1
	p.Legend.Top = true
	height := vg.Points(6)
	works = slices.Clone(works)
	slices.Reverse(works) // the axis goes upwards
	targets := slices.DeleteFunc(slices.Clone(r.targets), func(t string) bool {
		return !slices.ContainsFunc(works, func(w work) bool { return len(r.values[key{w.name, t}]) > 0 })
	})
	for i, t := range targets {
		var v plotter.Values
		for _, w := range works {
			v = append(v, r.share(w, t))
		}
		b, err := plotter.NewBarChart(v, height)
		if err != nil {
			return err
		}
		b.Horizontal, b.Color = true, plotutil.Color(i)
		b.LineStyle.Width = 0
		b.Offset = height * (vg.Length(len(targets))/2 - vg.Length(i))
		p.Add(b)
		p.Legend.Add(t, b)
	}
	names := make([]string, len(works))
	for i, w := range works {
		names[i] = w.name
	}
	p.NominalY(names...)
	// The legend stands beside the bars.
	p.X.Max = 1.35
	return p.Save(24*vg.Centimeter, vg.Length(len(works)*(len(targets)+2))*height+3*vg.Centimeter, file)
}

// share is the median of a target at a work as a share of the best one's, 0 if it was not measured.
func (r *report) share(w work, target string) float64 {
	own := median(r.of(w, target, value))
	if own == 0 {
		return 0
	}
	best := own
	for _, t := range r.targets {
		v := median(r.of(w, t, value))
		if v > 0 && (w.less && v < best || !w.less && v > best) {
			best = v
		}
	}
	if w.less {
		return best / own
	}
	return own / best
}

func (g growth) lines(file string) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = g.title, g.x, g.y
	p.Legend.Top = true
	p.Y.Min = 0
	var args []any
	last := 0.0
	for _, c := range g.curves {
		var pts plotter.XYs
		for _, q := range c.points {
			pts = append(pts, plotter.XY{X: q.x, Y: q.y})
			last = max(last, q.x)
		}
		args = append(args, c.name, pts)
	}
	if last > 10 {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	if err := plotutil.AddLinePoints(p, args...); err != nil {
		return err
	}
	return p.Save(18*vg.Centimeter, 10*vg.Centimeter, file)
}
