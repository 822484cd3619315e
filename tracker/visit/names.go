package visit

// names numbers values from 1; 0 is the zero value.
type names[T comparable] struct {
	number map[T]uint32
	value  []T
}

// of returns the number of v, and whether it is a new one.
func (n *names[T]) of(v T) (id uint32, isNew bool) {
	if id, ok := n.known(v); ok {
		return id, false
	}
	if n.number == nil {
		n.number = make(map[T]uint32)
		n.value = append(n.value, *new(T))
	}
	id = uint32(len(n.value))
	n.number[v] = id
	n.value = append(n.value, v)
	return id, true
}

// known returns the number of v if it has one.
func (n *names[T]) known(v T) (id uint32, ok bool) {
	if v == *new(T) {
		return 0, true
	}
	id, ok = n.number[v]
	return id, ok
}

func (n *names[T]) get(id uint32) (v T) {
	if id == 0 {
		return v
	}
	return n.value[id]
}

// name numbers a text of one of the table's lists.
func (t *Table[A, O]) name(n *names[string], s string) uint32 {
	id, isNew := n.of(s)
	if isNew {
		t.names += nameBytes + len(s)
	}
	return id
}
