import { createTheme } from '@mui/material/styles';

/** Colours that keep 4.5:1 against their background in either scheme; which one, the system says. */
export const theme = createTheme({
  cssVariables: { colorSchemeSelector: 'media' },
  colorSchemes: {
    light: {
      palette: {
        primary: { main: '#0f766e' },
        secondary: { main: '#475569' },
        success: { main: '#15803d' },
        warning: { main: '#a14a04' },
        error: { main: '#b91c1c' },
        info: { main: '#0369a1' },
        background: { default: '#f5f8f7', paper: '#ffffff' },
        text: { primary: '#14211f', secondary: '#4b5b58' },
      },
    },
    dark: {
      palette: {
        primary: { main: '#5eead4', contrastText: '#042f2e' },
        secondary: { main: '#cbd5e1' },
        success: { main: '#4ade80' },
        warning: { main: '#fbbf24' },
        error: { main: '#fca5a5' },
        info: { main: '#7dd3fc' },
        background: { default: '#0b1413', paper: '#12201e' },
        text: { primary: '#e6f0ee', secondary: '#a3b8b4' },
      },
    },
  },
  shape: { borderRadius: 12 },
  typography: {
    fontFamily: "'Inter Variable', system-ui, sans-serif",
    h1: { fontSize: '1.75rem', fontWeight: 700, letterSpacing: '-0.02em' },
    h2: { fontSize: '1.15rem', fontWeight: 650, letterSpacing: '-0.01em' },
    h3: { fontSize: '1rem', fontWeight: 600 },
    button: { textTransform: 'none', fontWeight: 600 },
  },
  components: {
    MuiButton: { defaultProps: { disableElevation: true }, styleOverrides: { root: { borderRadius: 10 } } },
    MuiCard: { defaultProps: { variant: 'outlined' } },
    MuiPaper: { styleOverrides: { root: { backgroundImage: 'none' } } },
    MuiChip: { styleOverrides: { root: { fontWeight: 600 } } },
    MuiTextField: { defaultProps: { fullWidth: true } },
    MuiTooltip: { defaultProps: { enterDelay: 400 } },
    MuiTableCell: { styleOverrides: { head: { fontWeight: 600 } } },
  },
});
