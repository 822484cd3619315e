package storage

// This file gives the rows of a block their groups, and adds up their measures.

// slot numbers the combinations of values over the selected rows, and clears the sums.
func (v *view) slot(sel []uint32, axes []axis) {
	v.keys = v.keys[:0]
	if len(v.slots) < v.rows {
		v.slots = make([]uint32, blockRows)
	}
	combinations := 1
	for _, a := range axes {
		if combinations *= len(a.dict); combinations > maxDense {
			break // the product of one more could overflow
		}
	}
	switch {
	case combinations <= maxDirect && 4*combinations <= len(sel):
		v.combine(sel, axes)
		v.allKeys(axes, combinations)
	case combinations <= maxDense:
		v.slotDense(sel, axes, combinations)
	default:
		v.slotSparse(sel, axes)
	}
	v.clearSums()
}

// allKeys makes a slot for each combination, in the order of combine.
func (v *view) allKeys(axes []axis, combinations int) {
	var key slotKey
	for range combinations {
		v.keys = append(v.keys, key)
		for i := len(axes) - 1; i >= 0; i-- {
			if key[i]++; int(key[i]) < len(axes[i].dict) {
				break
			}
			key[i] = 0
		}
	}
}

// clearSums begins new sums for the same slots.
func (v *view) clearSums() {
	for f := range v.sums {
		if cap(v.sums[f]) < len(v.keys) {
			v.sums[f] = make([]int64, len(v.keys))
		}
		v.sums[f] = v.sums[f][:len(v.keys)]
		clear(v.sums[f])
	}
}

func (v *view) slotDense(sel []uint32, axes []axis, combinations int) {
	if cap(v.dense) < combinations {
		v.dense = make([]uint32, combinations)
	}
	dense := v.dense[:combinations]
	for i := range dense {
		dense[i] = noSlot
	}
	v.combine(sel, axes)
	slots := v.slots
	for _, row := range sel {
		at := slots[row]
		if dense[at] == noSlot {
			dense[at] = v.newSlot(row, axes)
		}
		slots[row] = dense[at]
	}
}

// combine writes the number of each row's combination of codes to slots.
func (v *view) combine(sel []uint32, axes []axis) {
	slots := v.slots
	for i := range axes {
		a := &axes[i]
		n := uint32(len(a.dict))
		switch {
		case a.low != nil && i == 0:
			for _, row := range sel {
				slots[row] = uint32(a.low[row])
			}
		case a.low != nil:
			for _, row := range sel {
				slots[row] = slots[row]*n + uint32(a.low[row])
			}
		case a.codes != nil && i == 0:
			for _, row := range sel {
				slots[row] = uint32(a.codes[row])
			}
		case a.codes != nil:
			for _, row := range sel {
				slots[row] = slots[row]*n + uint32(a.codes[row])
			}
		case i == 0:
			for _, row := range sel {
				slots[row] = 0
			}
		}
	}
	if len(axes) == 0 {
		for _, row := range sel {
			slots[row] = 0
		}
	}
}

func (v *view) slotSparse(sel []uint32, axes []axis) {
	if v.sparse == nil {
		v.sparse = make(map[slotKey]uint32)
	}
	clear(v.sparse)
	for _, row := range sel {
		key := keyOf(row, axes)
		s, ok := v.sparse[key]
		if !ok {
			s = v.newSlot(row, axes)
			v.sparse[key] = s
		}
		v.slots[row] = s
	}
}

func keyOf(row uint32, axes []axis) (key slotKey) {
	for i := range axes {
		key[i] = axes[i].code(row)
	}
	return key
}

func (v *view) newSlot(row uint32, axes []axis) uint32 {
	v.keys = append(v.keys, keyOf(row, axes))
	return uint32(len(v.keys) - 1)
}

// sum adds a measure of the selected rows to a field of their groups.
func (v *view) sum(f field, m Measure, sel []uint32) {
	dst, slots, from := v.sums[f], v.slots, &v.amounts[m]
	if len(dst) == 1 {
		dst[0] += from.total(sel)
		return
	}
	switch {
	case from.low != nil:
		for _, row := range sel {
			dst[slots[row]] += int64(int8(from.low[row]))
		}
	case from.wide != nil:
		for _, row := range sel {
			dst[slots[row]] += from.wide[row]
		}
	case from.same != 0:
		for _, row := range sel {
			dst[slots[row]] += from.same
		}
	}
}

// total is the sum of the selected rows.
func (m *amounts) total(sel []uint32) (total int64) {
	switch {
	case m.low != nil:
		for _, row := range sel {
			total += int64(int8(m.low[row]))
		}
	case m.wide != nil:
		for _, row := range sel {
			total += m.wide[row]
		}
	default:
		total = m.same * int64(len(sel))
	}
	return total
}

// groupColumns are the columns whose combinations are the groups of a job: those that it groups by, and the hour.
func (j *job) groupColumns(t Table) []Column {
	cols := make([]Column, 0, maxGroupBy+1)
	for _, c := range j.q.GroupBy {
		cols = append(cols, j.plan.column(t, c))
	}
	if j.q.Interval == ByHour {
		cols = append(cols, Hour)
	}
	return cols
}

// groupAxes are the dimensions of the block whose combinations are the groups of a job, and further columns.
func (v *view) groupAxes(j *job, more ...Column) ([]axis, error) {
	axes := make([]axis, 0, len(slotKey{}))
	for i, c := range j.groupColumns(v.table()) {
		prop := ""
		if c == Props {
			prop = j.plan.props[i]
		}
		a, err := v.axis(v.column(c), prop)
		if err != nil {
			return nil, err
		}
		axes = append(axes, a)
	}
	if err := v.loadColumns(more...); err != nil {
		return nil, err
	}
	for _, c := range more {
		axes = append(axes, v.axes[c])
	}
	return axes, nil
}

// key is the group of a slot. The axes begin with those of the job's groups.
func (v *view) key(j *job, slot int, axes []axis) groupKey {
	key := groupKey{day: bucketDay(j.q, v.run.ref.day)}
	codes := &v.keys[slot]
	for i := range j.q.GroupBy {
		key.keys[i] = axes[i].dict[codes[i]]
	}
	if i := len(j.q.GroupBy); j.q.Interval == ByHour {
		key.hour = parseHour(axes[i].dict[codes[i]])
	}
	return key
}

// flush adds the sums of all slots to the groups of a job.
func (v *view) flush(j *job, gs groups, axes []axis, used ...field) {
	for slot := range v.keys {
		var g *group
		for _, f := range used {
			n := v.sums[f][slot]
			if n == 0 {
				continue
			}
			if g == nil {
				g = j.group(gs, v.key(j, slot, axes))
			}
			g.sums[f] += n
		}
	}
}
