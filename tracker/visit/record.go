package visit

// Undo takes back one Record. Several must be taken back in reverse order.
type Undo struct {
	id      ID
	existed bool
	before  visitor
	seen    [3]undoSeen // the page or event, the properties, the hostname
	n       int
}

type undoSeen struct {
	key     thing
	before  seen
	existed bool
}

// Record takes a hit into the table and says what it changed. Where it returns an error nothing has changed:
// ErrNoVisit for an Engagement that belongs to no page of an open visit, ErrFull for another hit when the Budget
// is used up.
//
// Of the time that engagements of one page in one visit claim, no more is believed in sum than has passed here
// since the page was first seen in the visit. Honest pages claim each moment once and after it has passed, so
// they keep below that by themselves, whenever a view or an engagement arrives, in whatever order, from several
// windows. Two exceptions lose what they claim too much: a page view that took longer to arrive than the
// engagement after it loses the difference, and people who read the same page at the same time behind one address
// and user agent count as the one visitor that they are taken for.
func (t *Table[A, O]) Record(id ID, h *Hit[A, O]) (c Change[A, O], u Undo, err error) {
	v := t.visitors[id]
	if h.Kind == Engagement {
		return t.engage(id, v, h)
	}
	if t.bytes >= Budget {
		return c, u, ErrFull
	}
	u = Undo{id: id, existed: v != nil}
	if v == nil {
		v = t.newVisitor(id, h)
		c.NewVisitor = true
	} else {
		u.before = *v
		c.FirstBefore = t.export(&v.first)
		c.HoursBefore = v.hours
	}
	c.NewVisit = c.NewVisitor || v.open.over(h.At)
	if c.NewVisit {
		v.visits++
		v.open = t.newVisit(h)
	} else {
		c.Before = t.export(&v.open)
		c.PreviousInVisit = t.paths.get(v.open.exit)
	}
	c.PreviousToday = t.paths.get(v.last)
	t.advance(v, h)
	t.novelty(v, h, &c, &u)
	v.hours |= 1 << h.Hour
	c.Hours = v.hours
	t.finish(v, &c)
	return c, u, nil
}

func (t *Table[A, O]) newVisitor(id ID, h *Hit[A, O]) *visitor {
	attrs, isNew := t.attrs.of(h.Attributes)
	if isNew {
		t.bytes += valueBytes + h.Attributes.TextSize()
	}
	t.serial++
	v := &visitor{serial: t.serial, attrs: attrs}
	t.visitors[id] = v
	t.bytes += visitorBytes
	return v
}

func (t *Table[A, O]) newVisit(h *Hit[A, O]) state {
	origin, isNew := t.origins.of(h.Origin)
	if isNew {
		t.bytes += valueBytes + h.Origin.TextSize()
	}
	return state{hour: h.Hour, start: h.At, end: h.At, origin: origin, host: t.name(&t.hosts, h.Hostname)}
}

// over reports whether a hit at a time begins the next visit. Logs are not strictly in order: a hit from
// shortly before is of the visit too.
func (s *state) over(at int64) bool { return at-s.end > Timeout*1000 || s.start-at > Timeout*1000 }

// advance moves the open visit on.
func (t *Table[A, O]) advance(v *visitor, h *Hit[A, O]) {
	s := &v.open
	s.start, s.end = min(s.start, h.At), max(s.end, h.At)
	if h.Kind == Event {
		s.events++
		s.active = s.active || h.Interactive
		return
	}
	path := t.name(&t.paths, h.Path)
	if s.pageViews == 0 {
		s.entry = path
	}
	s.pageViews++
	s.exit = path
	v.last = path
}

// novelty finds of what the hit was the first, and notes it.
func (t *Table[A, O]) novelty(v *visitor, h *Hit[A, O], c *Change[A, O], u *Undo) {
	if h.Kind == PageView {
		c.It = t.see(v, h, u, seenPath, h.Path)
	} else {
		c.It = t.see(v, h, u, seenEvent, h.Name)
		c.Props = t.see(v, h, u, seenProps, h.Name, h.Props)
	}
	c.Host = t.see(v, h, u, seenHost, h.Hostname)
}

func (t *Table[A, O]) see(v *visitor, h *Hit[A, O], u *Undo, kind byte, texts ...string) Novelty {
	key := t.thing(v, kind, texts...)
	s, ok := t.seen[key]
	u.seen[u.n] = undoSeen{key, s, ok}
	u.n++
	n := Novelty{Visit: !ok || s.visit != v.visits, Today: !ok, Hour: s.hours&(1<<h.Hour) == 0}
	if n.Visit {
		s.scroll, s.claimed = -1, h.At
	}
	s.visit = v.visits
	s.hours |= 1 << h.Hour
	t.seen[key] = s
	if !ok {
		t.bytes += seenBytes
	}
	return n
}

// finish fills in what the change says of the visits after the hit.
func (t *Table[A, O]) finish(v *visitor, c *Change[A, O]) {
	if v.visits == 1 {
		v.first = v.open
	}
	c.Attributes = t.attrs.get(v.attrs)
	c.After = t.export(&v.open)
	c.First = t.export(&v.first)
}

// engage adds an engagement to the page of an open visit. It needs no memory: whatever it names is known or refused.
func (t *Table[A, O]) engage(id ID, v *visitor, h *Hit[A, O]) (c Change[A, O], u Undo, err error) {
	if v == nil || v.open.over(h.At) {
		return c, u, ErrNoVisit
	}
	key := t.thing(v, seenPath, h.Path)
	s, ok := t.seen[key]
	if !ok || s.visit != v.visits {
		return c, u, ErrNoVisit
	}
	u = Undo{id: id, existed: true, before: *v, n: 1}
	u.seen[0] = undoSeen{key, s, true}
	c.FirstBefore, c.Before = t.export(&v.first), t.export(&v.open)
	c.HoursBefore, c.Hours = v.hours, v.hours
	v.open.end = max(v.open.end, h.At)
	c.Engaged = max(min(h.Engaged, h.At-s.claimed), 0)
	s.claimed += c.Engaged
	if scroll := int8(min(h.Scroll, 100)); scroll > s.scroll {
		c.FirstScroll = s.scroll < 0
		c.Scrolled = int64(scroll) - int64(max(s.scroll, 0))
		s.scroll = scroll
	}
	t.seen[key] = s
	t.finish(v, &c)
	return c, u, nil
}

// Revert takes back what a Record changed, and what that added to the estimate of memory, but for names: pages,
// hostnames, attributes and origins that it introduced stay until midnight, and so does what they are counted with.
// It does nothing after Close.
func (t *Table[A, O]) Revert(u *Undo) {
	if t.visitors == nil {
		return
	}
	for i := u.n - 1; i >= 0; i-- {
		if s := &u.seen[i]; s.existed {
			t.seen[s.key] = s.before
		} else {
			delete(t.seen, s.key)
			t.bytes -= seenBytes
		}
	}
	if u.existed {
		*t.visitors[u.id] = u.before
	} else {
		delete(t.visitors, u.id)
		t.bytes -= visitorBytes
	}
}
