import Autocomplete from '@mui/material/Autocomplete';
import TextField from '@mui/material/TextField';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useDeferredValue, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { people, type Colleague } from '../api/queries';

interface Props {
  label: string;
  value: Colleague | null;
  without?: string;
  onChange: (person: Colleague | null) => void;
}

/** A field for a person, found by how their name begins. */
export function PersonField({ label, value, without, onChange }: Props) {
  const { t } = useTranslation();
  const [typed, setTyped] = useState('');
  const q = useDeferredValue(typed.trim());
  const found = useInfiniteQuery(people(q === '' ? { limit: 20 } : { q, limit: 20 }));
  const options = (found.data?.pages[0]?.items ?? []).filter((one) => one.id !== without);
  return (
    <Autocomplete<Colleague>
      options={options}
      value={value}
      loading={found.isFetching}
      loadingText={t('common.loading')}
      noOptionsText={t('people.none')}
      filterOptions={(all) => all}
      getOptionLabel={(one) => `${one.given_name} ${one.family_name}`}
      getOptionKey={(one) => one.id}
      isOptionEqualToValue={(one, other) => one.id === other.id}
      onChange={(_event, person) => {
        onChange(person);
      }}
      onInputChange={(_event, text, cause) => {
        if (cause === 'input') setTyped(text);
      }}
      renderInput={(params) => <TextField {...params} label={label} required />}
    />
  );
}
