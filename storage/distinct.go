package storage

import (
	"cmp"
	"slices"
	"strings"
)

// This file counts rows of the table Hits: hits, and the visitors and visits for whom a hit was the first of it.
//
// Where a group holds one "it" (page, event name, hostname) the sum of "first of it" is the exact number. Where it
// may hold several, the sum over rows that come from outside the set is an upper bound: whoever has a hit in the
// set is counted at the first such hit, since the page before it lay outside and the entry page too, unless the
// hit is the entry; and is counted twice only after leaving the set and coming back to another page of it. The
// lower bound of a day is the larger of those who entered the site through the set, and the most visited member.

// reach is how many visitors and visits something has.
type reach [2]int64

func (r *reach) add(o reach) { r[0], r[1] = r[0]+o[0], r[1]+o[1] }

func (r *reach) atLeast(o reach) { r[0], r[1] = max(r[0], o[0]), max(r[1], o[1]) }

// groupDay is what a group knows of the day that is being read.
type groupDay struct {
	entries reach
	best    reach    // the most that a member has of which all rows have been seen
	singles []single // other members
}

// single is what one member, or a part of its rows, has.
type single struct {
	number uint32
	reach  reach
}

// member is one "it" of a set.
type member struct {
	kind unit // an event may have the name of a path
	it   [2]string
}

// numbers gives the members of a day's sets numbers from 1, so that groups need not compare texts.
type numbers map[member]uint32

func (n numbers) of(m member) uint32 {
	id, ok := n[m]
	if !ok {
		for i, it := range m.it {
			m.it[i] = strings.Clone(it) // would keep the dictionary of a whole block
		}
		id = uint32(len(n)) + 1
		n[m] = id
	}
	return id
}

func (g *group) today(j *job, touched map[*group]*job) *groupDay {
	if g.day == nil {
		g.day = &groupDay{}
		touched[g] = j
	}
	return g.day
}

// add notes what a block has of a member. Blocks are sorted by members, so that most come in the order of their numbers.
func (d *groupDay) add(j *job, number uint32, r reach) {
	if last := len(d.singles) - 1; last >= 0 && d.singles[last].number == number {
		d.singles[last].reach.add(r)
		return
	}
	j.hold(1)
	d.singles = append(d.singles, single{number, r})
}

// settle adds the day's lower bounds.
func (g *group) settle(j *job) {
	low, all := g.day.entries, g.day.singles
	low.atLeast(g.day.best)
	if byNumber := func(a, b single) int { return cmp.Compare(a.number, b.number) }; !slices.IsSortedFunc(all, byNumber) {
		slices.SortFunc(all, byNumber)
	}
	for len(all) > 0 {
		sum, same := all[0].reach, 1
		for ; same < len(all) && all[same].number == all[0].number; same++ {
			sum.add(all[same].reach)
		}
		low.atLeast(sum)
		all = all[same:]
	}
	g.low.add(low)
	j.hold(-int64(len(g.day.singles)))
	g.day = nil
}

// chosen are the rows that pass the filters of a job, by kind. Jobs with the same filters share them.
type chosen struct{ views, customs, hosts []uint32 }

// chosenHits parts the selection of a job by kind.
func (v *view) chosenHits(j *job, sel []uint32) (chosen, error) {
	if c, ok := v.hits[j.filters(v)]; ok {
		return c, nil
	}
	if err := v.loadColumns(Kind); err != nil {
		return chosen{}, err
	}
	only := func(kind string) []uint32 {
		return v.narrow(sel, Kind, func(value string) bool { return value == kind })
	}
	c := chosen{views: only(KindPageView), customs: only(KindEvent), hosts: only(KindHost)}
	v.hits[j.filters(v)] = c
	return c, nil
}

// hitFields are the fields that addHits fills besides those of sets.
var hitFields = []field{exactVisitors, exactVisits, pageViews, events, pageVisits, engaged, scrollSum, scrollCount}

// addHits adds rows of the table Hits.
func (v *view) addHits(j *job, gs groups, sel []uint32, touched map[*group]*job) error {
	if j.plan.notes != "" {
		return v.addNotes(j, gs, sel)
	}
	rows, err := v.chosenHits(j, sel)
	if err != nil {
		return err
	}
	p := j.plan
	axes, err := v.groupAxes(j)
	if err != nil {
		return err
	}
	if p.unit == unitPath && p.set && !p.countsSingle() && !v.rolled() {
		to, err := v.comersTo(j, rows.views)
		if err != nil {
			return err
		}
		sel = to.rows // nothing else is asked for
	}
	v.slot(sel, axes)
	if err := v.sumSingle(p, rows.views, rows.customs); err != nil {
		return err
	}
	distinct := p.unit != unitVisit && (p.wants[Visitors] || p.wants[VisitsTotal])
	visitors := HitVisitors
	if j.q.Interval == ByHour {
		visitors = HourVisitors
	}
	if distinct && (!p.set || v.rolled()) { // a rollup by name counts page views of the name once, too
		if err := v.loadMeasures(visitors, HitVisits); err != nil {
			return err
		}
		firsts := map[unit][]uint32{unitPath: rows.views, unitName: rows.customs, unitHost: rows.hosts}[p.unit]
		if p.set {
			firsts = v.union(rows.views, rows.customs)
		}
		v.sum(exactVisitors, visitors, firsts)
		v.sum(exactVisits, HitVisits, firsts)
	}
	v.flush(j, gs, axes, hitFields...)
	if !distinct || !p.set || v.rolled() {
		return nil
	}
	if p.unit != unitHost {
		if err := v.addPages(j, gs, axes, rows.views, touched); err != nil {
			return err
		}
	}
	switch p.unit {
	case unitName:
		return v.addMembers(j, gs, rows.customs, members{it: []Column{Name}, visitors: visitors, visits: HitVisits}, touched)
	case unitProp:
		return v.addMembers(j, gs, rows.customs, members{it: []Column{Name, Props}, visitors: PropVisitors, visits: PropVisits}, touched)
	case unitHost:
		return v.addMembers(j, gs, rows.hosts, members{it: []Column{Hostname}, visitors: visitors, visits: HitVisits}, touched)
	}
	return nil
}

// sumSingle adds what is counted by single hits.
func (v *view) sumSingle(p *plan, views, customs []uint32) error {
	if !p.singleWhole && (p.wants[PageViews] || p.wants[Events]) {
		if err := v.loadMeasures(Count); err != nil {
			return err
		}
		v.sum(pageViews, Count, views)
		v.sum(events, Count, views)
		v.sum(events, Count, customs)
	}
	if p.wants[TimeOnPage] || p.wants[ScrollDepth] {
		if err := v.loadMeasures(HitVisits, Engaged, ScrollSum, ScrollCount); err != nil {
			return err
		}
		v.sum(pageVisits, HitVisits, views)
		v.sum(engaged, Engaged, views)
		v.sum(scrollSum, ScrollSum, views)
		v.sum(scrollCount, ScrollCount, views)
	}
	return nil
}

// members says what the rows of a set of events or hostnames are the first of, and which measures say so.
type members struct {
	it               []Column
	visitors, visits Measure
}

// addMembers adds firsts of a set whose members overlap in an unknown way: at most their sum, at least the largest.
func (v *view) addMembers(j *job, gs groups, sel []uint32, m members, touched map[*group]*job) error {
	if len(sel) == 0 {
		return nil
	}
	axes, err := v.groupAxes(j, m.it...)
	if err != nil {
		return err
	}
	if err := v.loadMeasures(m.visitors, m.visits); err != nil {
		return err
	}
	v.slot(sel, axes)
	v.sum(upperVisitors, m.visitors, sel)
	v.sum(upperVisits, m.visits, sel)
	v.flush(j, gs, axes, upperVisitors, upperVisits)
	its := axes[len(axes)-len(m.it):]
	// A visit that was the first of one member in this hour may have been that of another in the hour before.
	visitsKnown := j.q.Interval != ByHour || j.plan.oneMember
	for slot := range v.keys {
		r := reach{v.sums[upperVisitors][slot], v.sums[upperVisits][slot]}
		if r == (reach{}) {
			continue
		}
		one := member{kind: j.plan.unit}
		for i, a := range its {
			one.it[i] = a.dict[v.keys[slot][len(axes)-len(its)+i]]
		}
		if !visitsKnown {
			r[1] = 0
		}
		j.group(gs, v.key(j, slot, axes)).today(j, touched).add(j, v.numbers.of(one), r)
	}
	return nil
}
