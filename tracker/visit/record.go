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
	key     seenKey
	before  seen
	existed bool
}

// Record takes a hit into the table and says what it changed. ok is false for an Engagement that belongs to
// no page of an open visit; nothing has changed then.
func (t *Table[A, O]) Record(id ID, h *Hit[A, O]) (c Change[A, O], u Undo, ok bool) {
	v := t.visitors[id]
	if h.Kind == Engagement {
		return t.engage(id, v, h)
	}
	u = Undo{id: id, existed: v != nil}
	if v == nil {
		t.serial++
		v = &visitor{serial: t.serial, attrs: t.attrs.of(h.Attributes)}
		t.visitors[id] = v
		c.NewVisitor = true
	} else {
		u.before = *v
		c.FirstBefore = t.export(&v.first)
		c.HoursBefore = v.hours
	}
	c.NewVisit = c.NewVisitor || v.open.over(h.At)
	if c.NewVisit {
		v.visits++
		v.open = state{hour: h.Hour, start: h.At, end: h.At, origin: t.origins.of(h.Origin), host: t.hosts.of(h.Hostname)}
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
	return c, u, true
}

// over reports whether a hit at a time begins the next visit. Logs are not strictly in order: a hit from
// shortly before is of the visit too.
func (s *state) over(at int64) bool { return at-s.end > Timeout || s.start-at > Timeout }

// advance moves the open visit on.
func (t *Table[A, O]) advance(v *visitor, h *Hit[A, O]) {
	s := &v.open
	s.start, s.end = min(s.start, h.At), max(s.end, h.At)
	if h.Kind == Event {
		s.events++
		s.active = s.active || h.Interactive
		return
	}
	path := t.paths.of(h.Path)
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
		c.It = t.see(v, seenPath, t.paths.of(h.Path), h.Hour, u)
	} else {
		c.It = t.see(v, seenEvent, t.events.of(h.Name), h.Hour, u)
		c.Props = t.see(v, seenProps, t.props.of(h.Name+"\x00"+h.Props), h.Hour, u).Today
	}
	c.Host = t.see(v, seenHost, t.hosts.of(h.Hostname), h.Hour, u)
}

func (t *Table[A, O]) see(v *visitor, kind int, name uint32, hour uint8, u *Undo) Novelty {
	key := seenKey{v.serial, uint64(name)*seenKinds + uint64(kind)}
	s, ok := t.seen[key]
	u.seen[u.n] = undoSeen{key, s, ok}
	u.n++
	n := Novelty{Visit: !ok || s.visit != v.visits, Today: !ok, Hour: s.hours&(1<<hour) == 0}
	if n.Visit {
		s.scroll = -1
	}
	s.visit = v.visits
	s.hours |= 1 << hour
	t.seen[key] = s
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

// engage adds an engagement to the page of an open visit.
func (t *Table[A, O]) engage(id ID, v *visitor, h *Hit[A, O]) (c Change[A, O], u Undo, ok bool) {
	if v == nil || v.open.over(h.At) {
		return c, u, false
	}
	key := seenKey{v.serial, uint64(t.paths.of(h.Path))*seenKinds + seenPath}
	s, ok := t.seen[key]
	if !ok || s.visit != v.visits {
		return c, u, false
	}
	u = Undo{id: id, existed: true, before: *v, n: 1}
	u.seen[0] = undoSeen{key, s, true}
	c.FirstBefore, c.Before = t.export(&v.first), t.export(&v.open)
	c.HoursBefore, c.Hours = v.hours, v.hours
	v.open.end = max(v.open.end, h.At)
	if scroll := int8(min(h.Scroll, 100)); scroll > s.scroll {
		c.FirstScroll = s.scroll < 0
		c.Scrolled = int64(scroll) - int64(max(s.scroll, 0))
		s.scroll = scroll
		t.seen[key] = s
	}
	t.finish(v, &c)
	return c, u, true
}

// Revert takes back what a Record changed. Names that it introduced stay until midnight. It does nothing after Close.
func (t *Table[A, O]) Revert(u *Undo) {
	if t.visitors == nil {
		return
	}
	for i := u.n - 1; i >= 0; i-- {
		if s := &u.seen[i]; s.existed {
			t.seen[s.key] = s.before
		} else {
			delete(t.seen, s.key)
		}
	}
	if u.existed {
		*t.visitors[u.id] = u.before
	} else {
		delete(t.visitors, u.id)
	}
}
